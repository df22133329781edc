"""Pauses of trees: what an execution has called stops with it, at its own next boundary.

Each that is stopped so is marked with whose pause it was (`paused_by`), so that the resume of that
execution wakes these and no other: one that was paused by itself stays paused. Rows are locked
upwards before any of this, see docs/decisions/lock-order.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from sqlalchemy import bindparam, func, literal_column, null, select, update

from outlast.model.event import ExecutionPaused
from outlast.model.execution import Execution, PauseRequest, Status, at_rest
from outlast.store.driver import Part, Query, Statement
from outlast.store.executions.below import ALL_BELOW_IDS, Live, UnreadChild
from outlast.store.executions.children import LIVE_CHILDREN, NOTHING, Effects
from outlast.store.executions.locks import compare_and_set
from outlast.store.executions.log import append
from outlast.store.executions.statements import LOCK_EXECUTION
from outlast.store.executions.tables import executions
from outlast.store.listeners import Committed
from outlast.store.tables import to_json
from outlast.store.waits.above import tell_above

_ONE: Final = executions.c.id == bindparam("given_id")

REQUEST_PAUSE_BELOW: Final = Statement(
    update(executions)
    .where(_ONE)
    .values(pause_requested=bindparam("request"), paused_by=bindparam("by"))
)
"""The row is locked, and runs."""

SET_PAUSED_BY: Final = Statement(update(executions).where(_ONE).values(paused_by=bindparam("by")))
"""The row is locked."""

WITHDRAW_PAUSE: Final = Statement(
    update(executions).where(_ONE).values(pause_requested=null(), paused_by=null())
)
"""The row is locked, and runs; its segment reads it once it comes to rest."""

LOCK_PAUSE: Final = Statement(
    select(executions.c.pause_requested, executions.c.paused_by)
    .where(executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace"))
    .with_for_update()
)
"""Selects a request to pause and whose it is; locks the row until this transaction ends."""

KEEP_PAUSED: Final = Statement(
    update(executions)
    .where(
        executions.c.paused_by == bindparam("before"),
        executions.c.completed_at.is_(None),
        executions.c.id.in_(ALL_BELOW_IDS),
    )
    .values(paused_by=bindparam("by"))
)
"""Marks what is below an execution as stopped by its own pause; all of it is locked."""

RUNNING_SIBLINGS: Final = Statement(
    select(func.count())
    .select_from(executions)
    .where(
        executions.c.parent_id == bindparam("parent"),
        executions.c.id != bindparam("id"),
        executions.c.completed_at.is_(None),
        executions.c.waiting.is_(literal_column("false")),
        executions.c.status != literal_column("'paused'"),
    )
)
"""Counts the live children of an execution that have a place; its row is locked."""


@dataclass(frozen=True, slots=True)
class PendingPause:
    """A request to pause a child that comes to rest."""

    request: PauseRequest | None
    """None: there is none, or it was withdrawn."""
    by: str | None
    """The execution above whose pause it is; None: its own."""


def pending_pause(execution: Execution) -> Part[PendingPause]:
    """Return the request to pause a running child; lock its row."""
    of = {"id": execution.id, "workspace": execution.workspace_id}
    for text, by in (yield Query(LOCK_PAUSE, of)):
        return PendingPause(None if text is None else PauseRequest(**orjson.loads(text)), by)
    return PendingPause(None, None)


def stop_below(live: Sequence[Live], by: str, request: PauseRequest, at: int) -> Part[Effects]:
    """Pause locked executions, given the deepest first; those that run are requested to.

    What is paused, or to be paused, already stays as it is; so does what rests and cannot be read.
    """
    effects = NOTHING
    for execution in reversed(live):  # parents first: they tell none of what their children await
        if execution.status is Status.PAUSED or execution.pause_requested is not None:
            continue
        if execution.status is Status.RUNNING:
            given = {"given_id": execution.id, "request": to_json(request), "by": by}
            yield Query(REQUEST_PAUSE_BELOW, given)
            effects += Effects(paused=((execution.id, request),))
            continue
        if isinstance(execution, UnreadChild):
            continue
        yield Query(SET_PAUSED_BY, {"given_id": execution.id, "by": by})
        _, paused = yield from paused_at_rest(execution, request, at)
        effects += paused
    return effects


def paused_at_rest(
    execution: Execution, request: PauseRequest, at: int
) -> Part[tuple[Execution, Effects]]:
    """Pause an execution whose row is locked and that no worker has."""
    after = at_rest(execution, Status.PAUSED, at)
    rows = yield compare_and_set(execution, after, keep_pause=False)
    assert rows, "its row is locked"
    entries = yield from append(after, after.updated_at, (ExecutionPaused(request.reason),))
    above = yield from tell_above(execution, after)
    return after, Effects((Committed(after.id, entries, after), *above))


def withdraw(execution: Live) -> Query:
    """Withdraw the request to pause a running execution whose row is locked."""
    return Query(WITHDRAW_PAUSE, {"given_id": execution.id})


def keep_paused(execution: Execution) -> Part[Execution]:
    """Make the pause of an execution, which another one's has brought about, its own.

    It and what is below it are locked.
    """
    if execution.paused_by is None or execution.status is not Status.PAUSED:
        return execution
    below = {"workspace": execution.workspace_id, "id": execution.id}
    marks: dict[str, Any] = {"before": execution.paused_by, "by": execution.id}
    yield Query(KEEP_PAUSED, below | marks)
    yield Query(SET_PAUSED_BY, {"given_id": execution.id, "by": None})
    return replace(execution, paused_by=None)


def has_no_place(execution: Execution) -> Part[bool]:
    """Whether a child that is resumed waits for its siblings; lock its parent's row."""
    if execution.parent_id is None or execution.tool_call_id is None:
        return False
    of = {"workspace": execution.workspace_id, "id": execution.parent_id}
    yield Query(LOCK_EXECUTION, of)
    siblings = {"parent": execution.parent_id, "id": execution.id}
    ((running,),) = yield Query(RUNNING_SIBLINGS, siblings)
    return int(running) >= LIVE_CHILDREN
