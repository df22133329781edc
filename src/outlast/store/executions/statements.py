"""Statements on the rows of executions. Data of an execution is reached through `OWNED`."""

from typing import Final

from sqlalchemy import (
    Boolean,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    null,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.sql.expression import ColumnElement, ScalarSelect, Update

from outlast.model.execution import CLIENT_DRIVEN
from outlast.store.budgets.applicable import APPLYING
from outlast.store.driver import Statement, query_and_change
from outlast.store.executions.columns import Writer, written_by
from outlast.store.executions.tables import events, execution_metadata, executions

OWNED: Final = (
    select(executions.c.id)
    .where(
        executions.c.id == bindparam("id"),
        executions.c.workspace_id == bindparam("workspace"),
    )
    .scalar_subquery()
)
"""The execution's id, if it is of this workspace."""

SELECT_EXECUTION: Final = select(*executions.c)

INSERT_EXECUTION: Final = Statement(insert(executions))

INSERT_METADATA: Final = Statement(insert(execution_metadata))
"""Inserts one indexed metadata value."""


def last_seq_of(execution_id: ColumnElement[str]) -> ScalarSelect[int]:
    """Return the number of a log's last event, as a column."""
    last = select(func.coalesce(func.max(events.c.seq), 0))
    return last.where(events.c.execution_id == execution_id).scalar_subquery()


LAST_SEQ: Final = last_seq_of(executions.c.id)

_compared: Final = update(executions).where(
    executions.c.id == bindparam("id"),
    executions.c.workspace_id == bindparam("workspace"),
    executions.c.status == bindparam("from_status"),
    executions.c.segment == bindparam("from_segment"),
    executions.c.waiting == bindparam("from_waiting"),
    executions.c.steps == bindparam("from_steps"),
    executions.c.credits == bindparam("from_credits"),
)
_OF_A_MOVE: Final = frozenset({"status", "segment", "waiting", "started_at"})
"""Columns that do not change inside a segment."""
_OF_AN_END: Final = frozenset({"completed_at", "error", "forwarded_headers"})
"""Columns that do not change while the execution is live."""


def _set(without: frozenset[str] = frozenset()) -> Update:
    names = (name for name in written_by(Writer.ADVANCE) if name not in without)
    return _compared.values({name: bindparam(f"new_{name}") for name in names})


ADVANCED: Final = _set().values(
    pause_requested=case(
        (bindparam("keep_pause", type_=Boolean()).is_(true()), executions.c.pause_requested),
        else_=null(),
    )
)


def _advance(change: Update) -> Statement:
    columns = (executions.c.cancel_requested, LAST_SEQ, APPLYING)
    return Statement(change.returning(*columns), apart=query_and_change(change, *columns))


ADVANCE_EXECUTION: Final = _advance(ADVANCED)
"""Compare-and-set on status, segment and waiting: no row means that the execution has moved on.

On steps and credits too: who takes over a running one may have read it before its last step.

It also returns the number of the log's last event. On Postgres that is as of the statement's begin:
if another process has appended meanwhile the next event's insert fails, and both are retried. A
request to pause that came meanwhile stays, unless the execution is paused or has ended.
"""

ADVANCE_LIVE: Final = _advance(_set(_OF_AN_END))
"""The same between two live statuses; a request to pause stays.

SQLite rewrites an index for each of its columns that is set, changed or not: so this and
`ADVANCE_RUNNING` set only what their moves may change.
"""

ADVANCE_RUNNING: Final = _advance(_set(_OF_AN_END | _OF_A_MOVE))
"""The same inside a segment: it sets no indexed column."""

ADVANCE_AWAITING: Final = _advance(ADVANCED.values(awaiting=bindparam("new_awaiting")))
"""The same from or to a suspension, which sets who or what is awaited."""

SET_AWAITING: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("given_id"),
        executions.c.status == literal_column("'suspended'"),
    )
    .values(awaiting=bindparam("new_awaiting"), updated_at=bindparam("at"))
)
"""The row is locked."""

REQUEST_CANCEL: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("id"),
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.completed_at.is_(None),
    )
    .values(cancel_requested=True)
)
"""Touches nothing else, so that it cannot disturb the segment that runs."""

EXECUTION: Final = Statement(
    SELECT_EXECUTION.where(
        executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace")
    )
)

LIVE_IN_CONVERSATION: Final = Statement(
    SELECT_EXECUTION.where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.completed_at.is_(None),
    ).order_by(executions.c.turn)
)
"""Selects the live executions of a conversation, by turn; it has a partial index.

Turns are assigned under the conversation's lock; ids come from the clocks of many hosts.
"""

_some_live: Final = (
    select(literal_column("1"))
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.completed_at.is_(None),
    )
    .limit(bindparam("most"))
    .subquery("page")
)

COUNT_LIVE: Final = Statement(select(func.count()).select_from(_some_live))
"""Counts the live executions of the conversation, on the partial index and up to a bound."""

WAITING_TURNS: Final = Statement(
    SELECT_EXECUTION.where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.completed_at.is_(None),
        executions.c.waiting.is_(True),
    )
    .order_by(executions.c.turn.desc())
    .limit(bindparam("limit"))
)
"""Selects queued turns, the youngest first; the conversation's row is locked."""

NEXT_IN_CONVERSATION: Final = Statement(
    SELECT_EXECUTION.where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.completed_at.is_(None),
    )
    .order_by(executions.c.turn)
    .limit(1)
)
"""Selects the next turn once an execution has ended."""

RELEASE_WAITING: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("id"),
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.waiting.is_(True),
    )
    .values(waiting=False)
)

UNFINISHED: Final = Statement(
    select(executions.c.workspace_id, executions.c.id, executions.c.status, executions.c.updated_at)
    .where(
        executions.c.id > bindparam("after"),
        executions.c.status.in_([literal_column("'queued'"), literal_column("'running'")]),
        executions.c.waiting.is_(False),
        executions.c.completed_at.is_(None),
        executions.c.agent_version != literal_column(str(CLIENT_DRIVEN)),
    )
    .order_by(executions.c.id)
    .limit(bindparam("limit"))
)
"""Of all workspaces, for recovery only. Without client-driven executions, which no worker takes."""

_place: Final = select(
    executions.c.status,
    executions.c.segment,
    executions.c.conversation_id,
    executions.c.updated_at,
    executions.c.parent_id,
    executions.c.tool_call_id,
).where(executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace"))

PLACE: Final = Statement(_place)
"""Selects what is needed to end an execution whose row cannot be read."""

LOCK_PLACE: Final = Statement(_place.with_for_update())
"""The same, locking the row until this transaction ends."""

FORCE_FAILURE: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("given_id"),
        executions.c.workspace_id == bindparam("workspace"),
    )
    .values(
        status=bindparam("failed"),
        error=bindparam("new_error"),
        completed_at=bindparam("at"),
        updated_at=bindparam("at"),
        waiting=False,
        tries=0,
        pause_requested=null(),
        active_since=null(),
        forwarded_headers=null(),
        awaiting=null(),
        reserved=null(),
    )
)
"""The row is locked and live. Reads nothing that may be unreadable."""

_active: Final = (
    update(executions)
    .where(
        executions.c.id == bindparam("given_id"),
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.status == literal_column("'running'"),
        executions.c.segment == bindparam("given_segment"),
        executions.c.active_ms < bindparam("given_ms"),
    )
    .values(active_ms=bindparam("given_ms"), active_since=bindparam("at"))
)

RECORD_ACTIVE_TIME: Final = Statement(_active)
"""Only while the segment runs, and never decreasing: `advance` may have counted further."""

RECORD_BROWSER_TIME: Final = Statement(_active.values(browser=bindparam("new_browser")))
"""The same of an execution whose browser is open."""

LOCK_EXECUTION: Final = Statement(
    select(*executions.c)
    .where(executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace"))
    .with_for_update()
)
"""Locks a row until this transaction ends; LOCK_TURNS, if needed, comes first."""

REQUEST_PAUSE: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("id"),
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.completed_at.is_(None),
    )
    .values(pause_requested=bindparam("request"), paused_by=null())
)
"""Touches nothing else, so that it cannot disturb the segment that runs."""

REQUESTED: Final = Statement(
    union_all(
        select(executions.c.id, executions.c.workspace_id, null()).where(
            text("cancel_requested AND completed_at IS NULL")
        ),
        select(executions.c.id, executions.c.workspace_id, executions.c.pause_requested).where(
            executions.c.pause_requested.is_not(None), executions.c.completed_at.is_(None)
        ),
    )
)
"""Selects executions to cancel, then those to pause, of all workspaces, for their processes."""

RESUME_EXECUTION: Final = Statement(
    update(executions)
    .where(executions.c.id == bindparam("given_id"))
    .values(
        cancel_requested=literal_column("false"),
        pause_requested=null(),
        **{name: bindparam(f"new_{name}") for name in written_by(Writer.RESUME)},
    )
)
"""The row is locked."""

SET_STATE: Final = Statement(
    update(executions)
    .where(executions.c.id == bindparam("given_id"))
    .values(state=bindparam("new_state"))
)
"""The row is locked."""

STATE: Final = Statement(select(executions.c.state).where(executions.c.id == bindparam("id")))
"""The row is locked."""

CHANGE_STATE: Final = Statement(
    update(executions)
    .where(executions.c.id == bindparam("given_id"))
    .values(state=bindparam("new_state"), updated_at=bindparam("at"))
)
"""The row is locked. Changes nothing that a segment compares."""
