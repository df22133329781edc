"""Why Postgres would not let us in, in one line and without the password.

A connection that fails has no SQLSTATE: libpq gives its message alone, in the server's language.
What a message does not tell is taken for a network that is away.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import psycopg

from outlast.model.error import Misconfigured, OutlastError, Overloaded

_LONGEST: Final = 300
_NOISE: Final = re.compile(r"connection failed: |FATAL:\s+|^\t.*$", re.MULTILINE)
"""What says nothing, and libpq's advice, which comes on lines of its own."""


class Reason(StrEnum):
    """What keeps us out."""

    URL = "url"
    """The URL cannot be read."""
    LOGIN = "login"
    """The user or the password is not right."""
    DATABASE = "database"
    """There is no such database."""
    RULES = "rules"
    """`pg_hba.conf` does not let us in from here."""
    TLS = "tls"
    """One side wants TLS and the other has none, or a certificate is not trusted."""
    FULL = "full"
    """Every connection is taken."""
    AWAY = "away"
    """No server answers there, or not yet."""


_SIGNS: Final = (
    (r"password authentication failed|no password supplied|SASL authentication failed", "LOGIN"),
    (r'role ".*" does not exist|not permitted to log in|no such user', "LOGIN"),
    (r'database ".*" does not exist|no such database', "DATABASE"),
    (r"pg_hba\.conf", "RULES"),
    (r"too many (clients|connections)|connection slots|no more connections", "FULL"),
    (r"SSL|TLS|certificate", "TLS"),
)
"""From the messages of Postgres, libpq and pgbouncer; the first that fits is taken."""
_PASSING: Final = frozenset({Reason.FULL, Reason.AWAY})


@dataclass(frozen=True, slots=True)
class Refusal:
    """We were not let in."""

    reason: Reason
    text: str
    """The server's or the network's own words, in one line."""


def refusal_of(error: psycopg.Error) -> Refusal:
    """What a connection that failed means."""
    if isinstance(error, psycopg.ProgrammingError):
        return Refusal(Reason.URL, "the URL cannot be read")  # its message tells of the password
    text = line_of(error)
    sign = next((name for pattern, name in _SIGNS if re.search(pattern, text)), "AWAY")
    return Refusal(Reason[sign], text)


def line_of(error: BaseException) -> str:
    """An error of the database in one line; of a statement no more than what went wrong."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    line = " ".join(_NOISE.sub("", primary or str(error)).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


@contextmanager
def connecting() -> Iterator[None]:
    """Raise Misconfigured or Overloaded for a connection that failed."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise _error_of(refusal_of(error)) from error


def _error_of(refusal: Refusal) -> OutlastError:
    if refusal.reason in _PASSING:
        return Overloaded(f"The database cannot be reached: {refusal.text}")
    return Misconfigured(f"The database cannot be used: {refusal.text}. outlast doctor says more.")
