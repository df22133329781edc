"""Explains refused connections to Postgres, in one line and without the password.

A failed connection has no SQLSTATE: libpq gives only a message, in the server's language. An
unknown message counts as an unavailable network.
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
"""Uninformative parts, and libpq's hints on separate lines."""


class Reason(StrEnum):
    """Reason of a refused connection."""

    URL = "url"
    """The URL cannot be read."""
    LOGIN = "login"
    """The user or the password is wrong."""
    DATABASE = "database"
    """There is no such database."""
    RULES = "rules"
    """`pg_hba.conf` does not allow this client."""
    TLS = "tls"
    """One side requires TLS and the other has none, or a certificate is not trusted."""
    FULL = "full"
    """All connections are in use."""
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
"""Patterns of messages of Postgres, libpq and pgbouncer; the first match is used."""
_PASSING: Final = frozenset({Reason.FULL, Reason.AWAY})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused connection."""

    reason: Reason
    text: str
    """The server's or the network's message, in one line."""


def refusal_of(error: psycopg.Error) -> Refusal:
    """Return the reason of a failed connection."""
    if isinstance(error, psycopg.ProgrammingError):
        return Refusal(Reason.URL, "the URL cannot be read")  # its message tells of the password
    text = line_of(error)
    sign = next((name for pattern, name in _SIGNS if re.search(pattern, text)), "AWAY")
    return Refusal(Reason[sign], text)


def line_of(error: BaseException) -> str:
    """Return a database error in one line, without the statement."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    line = " ".join(_NOISE.sub("", primary or str(error)).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


@contextmanager
def connecting() -> Iterator[None]:
    """Raise Misconfigured or Overloaded for a failed connection."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise _error_of(refusal_of(error)) from error


def _error_of(refusal: Refusal) -> OutlastError:
    if refusal.reason in _PASSING:
        return Overloaded(f"The database cannot be reached: {refusal.text}")
    return Misconfigured(f"The database cannot be used: {refusal.text}. outlast doctor says more.")
