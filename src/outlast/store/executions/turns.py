"""Turns of a conversation: which are live, and which is next once an execution has ended."""

from dataclasses import dataclass, replace
from typing import Any

from outlast.model.event import ExecutionFailed
from outlast.model.execution import TERMINAL, UNREADABLE, Execution, Status
from outlast.model.usage import NOTHING_SPENT
from outlast.store.conversations.rows import LOCK_TURNS, TOUCH_CONVERSATION
from outlast.store.driver import Part, Query
from outlast.store.executions.columns import PLACES
from outlast.store.executions.log import append_entries
from outlast.store.executions.rows import execution_from
from outlast.store.executions.spending import release_unread
from outlast.store.executions.spent_below import spent_below
from outlast.store.executions.statements import (
    COUNT_LIVE,
    EXECUTION,
    FORCE_FAILURE,
    NEXT_IN_CONVERSATION,
    PLACE,
    RELEASE_WAITING,
)
from outlast.store.executions.values import ForcedFailure
from outlast.store.listeners import Committed
from outlast.store.tables import to_json
from outlast.store.tasks.rows import END_TASK


def live_count(workspace_id: str, conversation_id: str, most: int) -> Part[int]:
    """Return how many executions of a conversation are live; counts up to `most`."""
    rows = yield Query(
        COUNT_LIVE,
        {"workspace": workspace_id, "conversation": conversation_id, "most": most},
    )
    return int(rows[0][0])


def turns_locked(before: Execution, after: Execution) -> Query | None:
    """Return the query that locks the turns, if the execution ends or its segment comes to rest.

    Locks are taken in one order: the conversation, then its executions.
    """
    if after.tool_call_id is not None:
        return None  # a child's conversation has no row, and no other turn
    conversation = {"workspace": after.workspace_id, "conversation": after.conversation_id}
    if ends(before, after):
        return Query(TOUCH_CONVERSATION, conversation | {"at": after.updated_at})
    return Query(LOCK_TURNS, conversation) if rests(before, after) else None


def ends(before: Execution, after: Execution) -> bool:
    """Whether the move ends the execution: then the next turn may begin."""
    return after.status in TERMINAL and before.status not in TERMINAL


def rests(before: Execution, after: Execution) -> bool:
    """Whether the move brings the segment to rest before the execution's end."""
    return before.status is Status.RUNNING and after.status in (Status.SUSPENDED, Status.PAUSED)


@dataclass(frozen=True, slots=True)
class NextTurn:
    """Effects of an execution's end on the next turn."""

    runnable: tuple[Execution, ...] = ()
    committed: tuple[Committed, ...] = ()
    """Commits of turns that could not be read and were failed."""


def next_turn(workspace_id: str, conversation_id: str, at: int) -> Part[NextTurn]:
    """Release the oldest live execution if it waits; the conversation's row is locked."""
    failed: list[Committed] = []
    parameters = {"workspace": workspace_id, "conversation": conversation_id}
    while rows := (yield Query(NEXT_IN_CONVERSATION, parameters)):
        execution_id, waiting = rows[0][PLACES["id"]], bool(rows[0][PLACES["waiting"]])
        if not waiting:
            break
        try:
            following = execution_from(rows[0])
        except Exception:  # noqa: BLE001 - a broken row may raise anything, and holds up nothing
            unread = ForcedFailure(workspace_id, execution_id, at, UNREADABLE)
            failed.append((yield from failed_unread(unread)))
            continue
        yield Query(RELEASE_WAITING, {"id": execution_id, "workspace": workspace_id})
        return NextTurn((replace(following, waiting=False),), tuple(failed))
    return NextTurn(committed=tuple(failed))


def failed_unread(failure: ForcedFailure) -> Part[Committed]:
    """Fail an execution whose row is locked and cannot be read."""
    of: dict[str, Any] = {"id": failure.execution_id, "workspace": failure.workspace_id}
    error = failure.error
    ((_, segment, _, updated_at, *_),) = yield Query(PLACE, of)
    yield from release_unread(failure.workspace_id, failure.execution_id, failure.at)
    at = max(failure.at, updated_at)
    yield Query(
        FORCE_FAILURE,
        {
            "given_id": failure.execution_id,
            "workspace": failure.workspace_id,
            "failed": Status.FAILED.value,
            "new_error": to_json(error),
            "at": at,
        },
    )
    below = yield from spent_below(failure.workspace_id, failure.execution_id)
    spent = None if below == NOTHING_SPENT else below.fields
    event = ExecutionFailed(error.type, error.code, error.message, below=spent)
    entries = yield from append_entries(failure.execution_id, segment, [(at, event)])
    yield Query(END_TASK, of)
    rows = yield Query(EXECUTION, of)
    try:
        execution = execution_from(rows[0])
    except Exception:  # noqa: BLE001 - as above; those who follow need the entries alone
        execution = None
    return Committed(failure.execution_id, entries, execution)
