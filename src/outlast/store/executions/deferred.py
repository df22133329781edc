"""Handles of tool calls that the tool's server works on by itself, from the log."""

from typing import Any, Final

from sqlalchemy import literal_column, select

from outlast.model.event import ToolDeferred
from outlast.model.event_codec import decode
from outlast.store.driver import Query, Statement, Transaction, TransactionResult
from outlast.store.executions.statements import OWNED
from outlast.store.executions.tables import events

DEFERRED: Final = Statement(
    select(events.c.data)
    .where(
        events.c.execution_id == OWNED,
        events.c.kind == literal_column(f"'{ToolDeferred.kind}'"),
    )
    .order_by(events.c.seq)
)
"""Selects the handles of one execution; read only when it continues after a crash."""


def read_handles(workspace_id: str, execution_id: str) -> Transaction[dict[str, dict[str, Any]]]:
    """Read the handles by tool call; of several of one call the last."""
    rows = yield Query(DEFERRED, {"id": execution_id, "workspace": workspace_id})
    found = [decode(ToolDeferred.kind, row[0]) for row in rows]
    handles = {one.tool_call_id: one.handle for one in found if isinstance(one, ToolDeferred)}
    return TransactionResult(handles)
