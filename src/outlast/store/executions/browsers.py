"""The browser of an execution: what it has used, and its state while no browser is open.

The use is a column of `executions`, so that lists show it; only executions with a browser write it.
"""

from typing import Final

from sqlalchemy import Column, Table, Text, bindparam, delete, insert, select, update

from outlast.model.execution import Status
from outlast.store.driver import Part, Query, Statement, Transaction, TransactionResult
from outlast.store.executions.statements import OWNED, RECORD_ACTIVE_TIME, RECORD_BROWSER_TIME
from outlast.store.executions.tables import executions
from outlast.store.executions.values import ActiveTime, Advance
from outlast.store.tables import identifier, metadata, time, to_json

browsers: Final = Table(
    "browsers",
    metadata,
    identifier("execution_id", primary_key=True),
    Column("sealed", Text, nullable=False),
    time("at"),
    sqlite_with_rowid=False,
)
"""State of browsers: cookies, local storage and place, encrypted with the server's secret."""

RECORD_BROWSER: Final = Statement(
    update(executions)
    .where(executions.c.id == bindparam("given_id"))
    .values(browser=bindparam("new_browser"))
)
"""The row is locked."""

INSERT_BROWSER: Final = Statement(insert(browsers))

DELETE_BROWSER: Final = Statement(
    delete(browsers).where(browsers.c.execution_id == bindparam("id"))
)
"""The execution's row is locked."""

BROWSER: Final = Statement(select(browsers.c.sealed).where(browsers.c.execution_id == OWNED))


def record_browser(move: Advance) -> Part[None]:
    """Write the use and the state of a move; nothing is kept of one that completes."""
    before, after, written = move.before, move.after, move.browser
    if after.browser is not before.browser:
        new = to_json(after.browser)
        yield Query(RECORD_BROWSER, {"given_id": after.id, "new_browser": new})
    ended = after.status is Status.COMPLETED
    if ended or written is not None:
        yield Query(DELETE_BROWSER, {"id": after.id})
    if not ended and written is not None and written.sealed is not None:
        row = {"execution_id": after.id, "sealed": written.sealed, "at": after.updated_at}
        yield Query(INSERT_BROWSER, row)


def active_time_query(active_time: ActiveTime) -> Query:
    """Return what records the time of a running segment, and of its browser if one is open."""
    execution = active_time.execution
    given = {
        "given_id": execution.id,
        "workspace": execution.workspace_id,
        "given_segment": execution.segment,
        "given_ms": active_time.active_ms,
        "at": active_time.at,
    }
    if active_time.browser is None:
        return Query(RECORD_ACTIVE_TIME, given)
    return Query(RECORD_BROWSER_TIME, given | {"new_browser": to_json(active_time.browser)})


def read_browser(workspace_id: str, execution_id: str) -> Transaction[str | None]:
    """Read the sealed state; None if none is kept."""
    rows = yield Query(BROWSER, {"id": execution_id, "workspace": workspace_id})
    return TransactionResult(rows[0][0] if rows else None)
