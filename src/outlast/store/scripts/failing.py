"""The last resort: end an execution as failed by a write that reads nothing of what it says.

What cannot be read (a row or a step of a newer version, a broken one) or written ends this way.
"""

from typing import Any, Final

from outlast.model.execution import Status
from outlast.store.conversations.rows import LOCK_TURNS
from outlast.store.driver import Query, Transaction, TransactionResult
from outlast.store.executions.statements import LOCK_PLACE, PLACE
from outlast.store.executions.values import ForcedFailure
from outlast.store.scripts.turns import failed_unread, next_turn

_RUNNABLE: Final = (Status.QUEUED.value, Status.RUNNING.value)
_LIVE: Final = (*_RUNNABLE, Status.SUSPENDED.value, Status.PAUSED.value)


def force_failure(failure: ForcedFailure) -> Transaction[bool]:
    """Lock the turns and the row; fail it if it still runs, or waits for what it may wait for."""
    of: dict[str, Any] = {"id": failure.execution_id, "workspace": failure.workspace_id}
    rows = yield Query(PLACE, of)
    if not rows:
        return TransactionResult(False)
    conversation_id = rows[0][2]
    turns = {"workspace": failure.workspace_id, "conversation": conversation_id}
    yield Query(LOCK_TURNS, turns)
    ((status, segment, *_),) = yield Query(LOCK_PLACE, of)
    live = _LIVE if failure.resting else _RUNNABLE
    if status not in live or failure.segment not in (None, segment):
        return TransactionResult(False)
    committed = yield from failed_unread(failure)
    following = yield from next_turn(failure.workspace_id, conversation_id, failure.at)
    return TransactionResult(True, (committed, *following.committed), following.runnable)
