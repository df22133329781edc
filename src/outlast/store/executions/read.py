"""Reads of executions: one, those of a conversation, those that need a process."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, literal_column, select

from outlast.model.error import ExecutionNotFound
from outlast.model.event import TEXT_KINDS, DataEmitted, TextAdded
from outlast.model.execution import TERMINAL, Execution, Status, Step
from outlast.model.steps import unanswered
from outlast.model.usage import NOTHING_SPENT
from outlast.model.wait import Wait
from outlast.store.driver import Part, Query, Statement, Transaction, TransactionResult
from outlast.store.executions.log import entry_from
from outlast.store.executions.partial import execution_or_part
from outlast.store.executions.rows import execution_of
from outlast.store.executions.spent_below import spent_below
from outlast.store.executions.statements import (
    EXECUTION,
    LIVE_IN_CONVERSATION,
    OWNED,
    UNFINISHED,
)
from outlast.store.executions.steps import steps_of
from outlast.store.executions.tables import events
from outlast.store.executions.values import Details, Unfinished
from outlast.store.waits.store import awaited_below, waits_of

_ended_text: Final = (
    select(func.coalesce(func.max(events.c.seq), 0))
    .where(
        events.c.execution_id == OWNED,
        events.c.kind.not_in(
            [literal_column(f"'{kind}'") for kind in (*TEXT_KINDS, DataEmitted.kind)]
        ),
    )
    .scalar_subquery()
)

OPEN_TEXT: Final = Statement(
    select(events.c.segment, events.c.seq, events.c.at, events.c.kind, events.c.data)
    .where(
        events.c.execution_id == OWNED,
        events.c.kind == literal_column(f"'{TextAdded.kind}'"),
        events.c.seq > _ended_text,
    )
    .order_by(events.c.seq)
)
"""Selects the open step's text: after the last event that ends or voids a step."""


def _execution(workspace_id: str, execution_id: str) -> Part[Execution]:
    rows = yield Query(EXECUTION, {"id": execution_id, "workspace": workspace_id})
    if not rows:
        raise ExecutionNotFound
    return execution_of(rows[0])


def read_execution(workspace_id: str, execution_id: str) -> Transaction[Execution]:
    """Read one row of the workspace."""
    return TransactionResult((yield from _execution(workspace_id, execution_id)))


def read_part(workspace_id: str, execution_id: str) -> Transaction[Execution]:
    """Read as much of one row as can be read."""
    rows = yield Query(EXECUTION, {"id": execution_id, "workspace": workspace_id})
    if not rows:
        raise ExecutionNotFound
    return TransactionResult(execution_or_part(rows[0]))


def read_live(workspace_id: str, conversation_id: str) -> Transaction[list[Execution]]:
    """Read the live executions of a conversation, oldest first."""
    rows = yield Query(
        LIVE_IN_CONVERSATION, {"workspace": workspace_id, "conversation": conversation_id}
    )
    return TransactionResult([execution_of(row) for row in rows])


def unfinished(after: str, limit: int) -> Transaction[list[Unfinished]]:
    """Read the executions to recover, by id."""
    rows = yield Query(UNFINISHED, {"after": after, "limit": limit})
    return TransactionResult([Unfinished(*row) for row in rows])


def read_details(
    workspace_id: str, execution_ids: Sequence[str]
) -> Transaction[dict[str, Details]]:
    """Read existing ones; what an execution cannot have is not queried."""
    found: dict[str, Details] = {}
    for execution_id in execution_ids:
        rows = yield Query(EXECUTION, {"id": execution_id, "workspace": workspace_id})
        for row in rows:
            found[execution_id] = yield from details_of(execution_of(row))
    return TransactionResult(found)


def read_recorded(
    workspace_id: str, execution_id: str
) -> Transaction[tuple[tuple[Step, ...], tuple[Wait, ...]]]:
    """Read the steps, and the waits if calls have no result yet."""
    steps = yield from steps_of(workspace_id, execution_id)
    waits = (yield from waits_of(workspace_id, execution_id)) if unanswered(steps) else ()
    return TransactionResult((steps, waits))


def details_of(execution: Execution) -> Part[Details]:
    """Return what the execution recorded, as seen by the open transaction."""
    workspace_id, execution_id = execution.workspace_id, execution.id
    steps: tuple[Step, ...] = ()
    if execution.steps > 1:
        steps = yield from steps_of(workspace_id, execution_id)
    below = NOTHING_SPENT
    if execution.children:
        below = yield from spent_below(workspace_id, execution_id)
    if execution.status in TERMINAL or execution.segment == 0:
        return Details(execution, steps, below=below)
    waits = yield from waits_of(workspace_id, execution_id)
    if execution.children:
        waits += yield from awaited_below(workspace_id, execution_id, waits)
    text = ""
    if execution.status is Status.RUNNING and not execution.is_client_driven:
        text = yield from _open_text_of(workspace_id, execution_id)
    return Details(execution, steps, waits, text, below)


def _open_text_of(workspace_id: str, execution_id: str) -> Part[str]:
    """Return the open step's text, as far as it is written."""
    rows = yield Query(OPEN_TEXT, {"id": execution_id, "workspace": workspace_id})
    found = (entry_from(row).event for row in rows)
    return "".join("".join(e.pieces) for e in found if isinstance(e, TextAdded))
