"""Requests to cancel or pause an execution, which the process that runs it carries out."""

from dataclasses import dataclass

import orjson

from outlast.model.execution import Execution, PauseRequest
from outlast.store.driver import Query, Transaction, TransactionResult
from outlast.store.executions.below import lock_live_below
from outlast.store.executions.locks import locked_tree
from outlast.store.executions.pauses import keep_paused, stop_below
from outlast.store.executions.statements import REQUEST_CANCEL, REQUEST_PAUSE, REQUESTED
from outlast.store.tables import to_json
from outlast.store.unreadable import Unreadable, readable


@dataclass(frozen=True, slots=True)
class Requested:
    """Live executions that are to be stopped."""

    cancel: tuple[str, ...]
    pause: tuple[tuple[str, PauseRequest] | Unreadable, ...]


def request_cancel(workspace_id: str, execution_id: str) -> Transaction[None]:
    """Set the flag on a live execution."""
    yield Query(REQUEST_CANCEL, {"id": execution_id, "workspace": workspace_id})
    return TransactionResult(None, requested=(execution_id,))


def request_pause(
    workspace_id: str, execution_id: str, request: PauseRequest, at: int
) -> Transaction[None]:
    """Store the request with a live execution, and stop what it has called."""
    live = yield from lock_live_below(workspace_id, execution_id)
    given = {"id": execution_id, "workspace": workspace_id}
    yield Query(REQUEST_PAUSE, given | {"request": to_json(request)})
    effects = yield from stop_below(live, execution_id, request, at)
    return TransactionResult(
        None, effects.committed, requested=(execution_id,), paused=effects.paused
    )


def keep_its_pause(workspace_id: str, execution_id: str) -> Transaction[Execution]:
    """Make the pause of an execution its own, with what is below it."""
    execution, _ = yield from locked_tree(workspace_id, execution_id)
    return TransactionResult((yield from keep_paused(execution)))


def requested() -> Transaction[Requested]:
    """Read which live executions are to be cancelled, and which paused."""
    rows = yield Query(REQUESTED, {})
    pause = readable(
        [row for row in rows if row[2] is not None],
        lambda row: (row[0], PauseRequest(**orjson.loads(row[2]))),
        lambda row: (row[1], row[0]),
    )
    return TransactionResult(Requested(tuple(r[0] for r in rows if r[2] is None), tuple(pause)))
