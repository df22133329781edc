"""Classifies errors of Postgres by what they mean for the transaction.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import re
from enum import Enum, auto
from typing import Final

import psycopg
import structlog
from psycopg import errors

from outlast.model.error import OutlastError, Overloaded, Refused
from outlast.store.postgres.refusal import line_of

AWAY: Final = "The database cannot be reached."

_AGAIN: Final = (
    errors.UniqueViolation,
    errors.ForeignKeyViolation,
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.PipelineAborted,
)
_OF_SESSION: Final = (
    errors.InvalidSqlStatementName,
    errors.DuplicatePreparedStatement,
)
"""A pooler lost or kept a prepared statement: the next connection may know it."""
_PERMANENT: Final = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError)
_TOO_LONG: Final = frozenset({"57014", "55P03", "25P03", "25P04"})
"""Query canceled, lock not available, and a transaction that was idle or open for too long."""
_ENDED: Final = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05"})
"""The server ends the connection, or accepts none."""
_READ_ONLY: Final = "25006"
_INTERNAL: Final = "XX000"
"""Internal errors, such as a value that is larger than the server supports."""
_CONNECTION, _LIMIT = "08", "54"
"""Classes of SQLSTATE: connection exception; program limit exceeded."""

logger = structlog.get_logger(__name__)


class Meaning(Enum):
    """What to do about an error."""

    AGAIN = auto()
    """The transaction lost a race and was rolled back: a retry may succeed."""
    LOST = auto()
    """The connection is lost, and others may be."""
    TOO_LONG = auto()
    """The database works, but did not finish in time."""
    PASSING = auto()
    """The database cannot do it now: no space, no memory, no writes."""
    REFUSED = auto()
    """The database will never accept it: integrity, data, limits, a wrong statement."""


def meaning_of(error: Exception) -> Meaning:
    """Classify an error of psycopg, or of a value that cannot be sent."""
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, _AGAIN):
        return Meaning.AGAIN
    if state in _TOO_LONG:
        return Meaning.TOO_LONG
    if _is_lost(error, state):
        return Meaning.LOST
    return Meaning.REFUSED if _is_permanent(error, state) else Meaning.PASSING


def _is_lost(error: Exception, state: str) -> bool:
    if not state:  # libpq's own words: there was no answer
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    return state in _ENDED or state.startswith(_CONNECTION)


def _is_permanent(error: Exception, state: str) -> bool:
    if isinstance(error, _PERMANENT):
        return not isinstance(error, _OF_SESSION)
    outside = not isinstance(error, psycopg.Error)
    return outside or state == _INTERNAL or state.startswith(_LIMIT)


def error_of(error: Exception, meaning: Meaning) -> OutlastError:
    """Return the error of the store's port.

    Overloaded if a retry may help, Refused if not.
    """
    match meaning:
        case Meaning.LOST:
            return Overloaded(AWAY)
        case Meaning.TOO_LONG:
            return Overloaded(f"The database took too long: {line_of(error)}.")
        case Meaning.PASSING:
            if getattr(error, "sqlstate", None) == _READ_ONLY:
                return Overloaded("The database accepts no writes: it is read-only.")
            return Overloaded(f"The database could not do this now: {line_of(error)}.")
        case Meaning.AGAIN if not isinstance(error, psycopg.IntegrityError):
            return Overloaded("The database could not be written.")
        case Meaning.AGAIN | Meaning.REFUSED:
            why = _condition(error)
            logger.error("database.refused", error=why)
            return Refused(f"The database refused this: {why}.")


def _condition(error: Exception) -> str:
    """Return what is wrong, without the content that a message about data may quote."""
    if isinstance(error, (psycopg.ProgrammingError, psycopg.IntegrityError)):
        return line_of(error)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).strip("_").lower()


def database_error(error: BaseException) -> psycopg.Error | None:
    """Return the database's own error below a library's; None if there is none.

    In a pipeline it may be an earlier statement's. A unique violation has no cause, only a context.
    """
    found: BaseException | None = error
    while found is not None and not isinstance(found, psycopg.Error):
        found = found.__cause__ or found.__context__
    return found
