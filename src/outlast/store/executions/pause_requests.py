"""Requests to pause an execution, which the process that runs it carries out."""

import orjson

from outlast.model.execution import PauseRequest
from outlast.store.driver import Query, Transaction, TransactionResult
from outlast.store.executions.statements import PAUSE_REQUESTED, REQUEST_PAUSE
from outlast.store.tables import to_json
from outlast.store.unreadable import Unreadable, readable


def request_pause(workspace_id: str, execution_id: str, request: PauseRequest) -> Transaction[None]:
    """Keep the request with a live execution."""
    yield Query(
        REQUEST_PAUSE, {"id": execution_id, "workspace": workspace_id, "request": to_json(request)}
    )
    return TransactionResult(None, requested=(execution_id,))


def pause_requested() -> Transaction[list[tuple[str, PauseRequest] | Unreadable]]:
    """Which live executions are to be paused, by request."""
    rows = yield Query(PAUSE_REQUESTED, {})
    return TransactionResult(
        readable(
            rows,
            lambda row: (row[0], PauseRequest(**orjson.loads(row[1]))),
            lambda row: (row[2], row[0]),
        )
    )
