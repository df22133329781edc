"""Whether the database accepts writes: part of a server's readiness."""

from typing import Final

from sqlalchemy import func, select

from outlast.model.error import Overloaded
from outlast.store.driver import Query, Statement, Transaction, TransactionResult

_READ_ONLY: Final = Statement(select(func.current_setting("transaction_read_only")))


def writable() -> Transaction[None]:
    """Raise Overloaded for a replica, and for a database that is set to read-only."""
    rows = yield Query(_READ_ONLY, {})
    if rows[0][0] == "on":
        raise Overloaded("The database accepts no writes: it is a replica or set to read-only.")
    return TransactionResult(None)
