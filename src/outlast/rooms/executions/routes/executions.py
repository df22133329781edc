"""Executions: run an agent, read, list, follow, cancel."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.endpoint import (
    IDEMPOTENCY_KEY,
    LAST_EVENT_ID,
    PREFER,
    TICKET,
    Answer,
    Endpoint,
    event_stream,
)
from outlast.http.parameters import filter_value
from outlast.http.spool import json_response, whole_response
from outlast.model.error import (
    ExecutionNotFound,
    InvalidCursor,
)
from outlast.model.event import START, Cursor
from outlast.model.execution import Status
from outlast.model.ids import EXECUTION
from outlast.model.workspace import Scope
from outlast.rooms.executions import answers, render, schemas
from outlast.rooms.executions.routes.agents import AGENT_PATH
from outlast.rooms.executions.routes.execute import execute
from outlast.rooms.executions.stream import FRAME_TYPES, stream_of
from outlast.rooms.executions.stream.positions import Position, parsed
from outlast.rooms.executions.stream.woven import woven_stream
from outlast.services.all import Services
from outlast.services.executions import ExecutionFilter, Page

_METADATA: Final = "metadata."
"""Prefix of filters by a key of the metadata."""
METADATA_FILTER: Final = {
    "name": f"{_METADATA}KEY",
    "in": "query",
    "description": "Executions with this value in their metadata; KEY is one of the keys that the "
    "server's setting `indexed_metadata` names.",
    "schema": {"type": "string"},
}
EXECUTION_PATH = {"executionId": "The execution's id."}


async def get_execution(call: Call, services: Services) -> Response:
    """The execution with its output, tool calls and usage, as far as it has come."""
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)

    async def read() -> answers.Execution:
        return render.execution(await services.executions.get(call.principal, execution_id))

    return await whole_response(call.spools, read)


async def list_executions(call: Call, services: Services) -> Response:
    """Executions newest first, by filters; `after` and `before` walk on from an execution."""
    metadata = tuple(name for name in call.query_params if name.startswith(_METADATA))
    query = call.query_as(schemas.ListQuery, beside=metadata)
    wanted = await _wanted(call, services, query, metadata)
    page = Page(query.limit, query.after, query.before)
    for name, cursor in (("after", query.after), ("before", query.before)):
        if cursor is not None:
            with filter_value(name):
                await services.executions.part(call.principal, cursor)
    pages = services.lists.whole if query.full else services.lists.views

    async def read() -> answers.ExecutionPage:
        views, more = await pages(call.principal, wanted, page)
        return render.page(views, call.link, more=more, backwards=page.backwards)

    return await whole_response(call.spools, read, large=query.full)


async def _wanted(
    call: Call, services: Services, query: schemas.ListQuery, metadata: tuple[str, ...]
) -> ExecutionFilter:
    agent_id = None
    if query.agent_id is not None:
        with filter_value("agentId"):
            agent_id = await services.agents.resolve(call.principal, query.agent_id)
    return ExecutionFilter(
        agent_id=agent_id,
        status=() if query.status is None else (Status(query.status),),
        conversation_id=query.conversation_id,
        parent_id=query.parent_id,
        root_id=query.root_id,
        user=query.user,
        metadata=tuple(
            (name.removeprefix(_METADATA), call.query_params[name]) for name in metadata
        ),
        created_from=query.start_date,
        created_before=query.end_date,
    )


async def stream_execution(call: Call, services: Services) -> Response:
    """Replays the execution's events, then follows it to its end; held open while it waits.

    After the last event of an ended execution: 204, so that an `EventSource` stops reconnecting.

    Frames by `type`: start, text_delta, thinking, tool_call_start, tool_call_end, child_started,
    child_finished, approval_requested, approval_resolved, retry (discard the open step's text),
    paused, resumed (discard what came behind its `behind`), and at the end done or error.

    With `children=true` the frames of all executions below it too, each with its `executionId`.
    """
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    query = call.query_as(schemas.StreamQuery)
    position = call.cursor_as(parsed if query.children else _alone) or Position()
    after = position.cursor
    execution = (await services.executions.get(call.principal, execution_id)).execution
    if execution.is_purged:
        raise ExecutionNotFound("Its conversation was deleted; there is nothing left to stream.")
    if after != START and not await services.executions.holds(call.principal, execution.id, after):
        raise InvalidCursor(param=call.cursor_param)
    if await services.executions.is_behind(call.principal, execution, after):
        return Response(status_code=204)
    if query.children:
        return woven_stream(call, services, execution.id, after=position)
    return stream_of(call, services, execution.id, after=after)


def _alone(text: str) -> Position:
    """Read a position in the log of the execution alone. Raises InvalidCursor."""
    return Position(Cursor.parse(text))


async def cancel_execution(call: Call, services: Services) -> Response:
    """Cancels in any live state; what was written is kept, its tokens are charged."""
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    return json_response(
        render.cancelled(await services.executions.cancel(call.principal, execution_id))
    )


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/agents/{agentId}/execute",
        execute,
        scope=Scope.AGENTS_EXECUTE,
        name="executeAgent",
        summary="Run an agent",
        tag="executions",
        parameters=AGENT_PATH,
        query=schemas.ExecuteQuery,
        headers=(IDEMPOTENCY_KEY, PREFER),
        body=schemas.ExecuteBody,
        answers={
            200: Answer(
                "The execution at its end, or when it waits for a person; with "
                "`stream` or `Accept: text/event-stream` its events as they come.",
                answers.Execution,
                {"text/event-stream": event_stream(FRAME_TYPES)},
            ),
            202: Answer(
                "It runs in the background. The short answer is that of a request without a body.",
                answers.Execution | answers.Accepted,
            ),
        },
        errors=(400, 404, 409, 413, 422),
    ),
    Endpoint(
        "GET",
        "/v1/executions/{executionId}",
        get_execution,
        scope=Scope.EXECUTIONS_READ,
        name="getExecution",
        summary="Get an execution",
        tag="executions",
        parameters=EXECUTION_PATH,
        answers={200: Answer("The execution.", answers.Execution)},
        errors=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/executions",
        list_executions,
        scope=Scope.EXECUTIONS_READ,
        name="listExecutions",
        summary="List executions",
        tag="executions",
        query=schemas.ListQuery,
        headers=(METADATA_FILTER,),
        answers={200: Answer("Newest first.", answers.ExecutionPage)},
        errors=(400,),
    ),
    Endpoint(
        "GET",
        "/v1/executions/{executionId}/stream",
        stream_execution,
        scope=Scope.EXECUTIONS_READ,
        name="streamExecution",
        summary="Follow an execution",
        tag="executions",
        parameters=EXECUTION_PATH,
        query=schemas.StreamQuery,
        headers=(LAST_EVENT_ID, TICKET),
        answers={
            200: Answer(
                "Its events from the start, or behind a cursor, then as they come.",
                content={"text/event-stream": event_stream(FRAME_TYPES)},
            ),
            204: Answer("It has ended, and the cursor is its last event's."),
        },
        errors=(400, 404),
    ),
    Endpoint(
        "POST",
        "/v1/executions/{executionId}/cancel",
        cancel_execution,
        scope=Scope.AGENTS_EXECUTE,
        name="cancelExecution",
        summary="Cancel an execution",
        tag="executions",
        parameters=EXECUTION_PATH,
        answers={200: Answer("Its output and usage.", answers.Cancelled)},
        errors=(404, 409),
    ),
)
