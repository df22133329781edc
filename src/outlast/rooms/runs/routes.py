"""The routes of the runs room: parse, call, render."""

from typing import Any, ClassVar, Final

from fastapi import APIRouter
from starlette.responses import Response

from outlast.http.document import IDEMPOTENCY_KEY, LAST_EVENT_ID, TICKET, operation
from outlast.http.errors import RenderError
from outlast.http.request import Call
from outlast.http.route import Route
from outlast.http.spool import json_response, whole_response
from outlast.model.error import ApprovalNotFound, ExecutionNotFound, InvalidId
from outlast.model.execution import LIVE, Execution
from outlast.model.ids import EXECUTION, parse
from outlast.rooms.runs import render, schemas, streams
from outlast.rooms.runs.execute import execute, kept_format
from outlast.services.all import Services
from outlast.services.approvals import Decision


class RunsRoute(Route):
    """A route of this room."""

    room = "runs"
    render_error: ClassVar[RenderError] = staticmethod(render.error)


router = APIRouter(route_class=RunsRoute)

_PATH: Final = "/run/api/executions"
_RUN: Final = {"executionId": "The run's id."}
_EVENT: Final = {
    "type": "object",
    "description": "One server-sent event.",
    "properties": {
        "id": {"type": "string", "description": "The frame's index; in `native` a cursor."},
        "data": {
            "type": "string",
            "description": "JSON on one line: a `chat.completion.chunk` (`openai`, with `[DONE]` "
            "at the end), a UI message chunk (`ui`), or the main room's frame (`native`).",
        },
    },
    "required": ["data"],
}
_EXAMPLES: Final = {
    "openai": {
        "value": 'id: 1\ndata: {"id":"exec_…","object":"chat.completion.chunk",'
        '"created":1773570600,"model":"agt_…",'
        '"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}'
        "\n\n"
    },
    "ui": {"value": 'id: 3\ndata: {"type":"text-delta","id":"1","delta":"Hello"}\n\n'},
    "native": {"value": 'id: 1-3\ndata: {"type":"text_delta","text":"Hello"}\n\n'},
}
_STREAMED: Final[dict[str, Any]] = {
    "content": {"text/event-stream": {"schema": _EVENT, "examples": _EXAMPLES}}
}
_START_INDEX: Final = {
    "name": streams.START_INDEX,
    "in": "header",
    "description": "Like `startIndex`, and wins over it.",
    "schema": {"type": "integer"},
}

router.post(
    _PATH,
    tags=["runs"],
    **operation(
        "createRun",
        "Run the key's agent",
        query=schemas.RunQuery,
        headers=(IDEMPOTENCY_KEY,),
        body=schemas.RunBody,
        answers={
            200: {"description": "What happens, as it happens, in the format asked for."}
            | _STREAMED
        },
        errors=(400, 404, 409, 413, 422),
        error=schemas.RunError,
    ),
)(execute)


@router.get(
    _PATH + "/{executionId}",
    tags=["runs"],
    **operation(
        "getRun",
        "Get a run's status",
        path=_RUN,
        answers={200: {"model": schemas.Run, "description": "The run."}},
        errors=(404,),
        error=schemas.RunError,
    ),
)
async def get_run(call: Call) -> Response:
    """Where the run stands."""
    services: Services = call.services
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)

    async def read() -> schemas.Run:
        view = await services.executions.get(call.principal, execution_id)
        return render.run(view.execution)

    return await whole_response(call.spools, read)


@router.post(
    _PATH + "/{executionId}/approvals/{toolCallId}",
    tags=["runs"],
    **operation(
        "decideRunApproval",
        "Approve or deny a tool call",
        path=_RUN | {"toolCallId": "The tool call that waits."},
        body=schemas.ApprovalBody,
        answers={200: {"model": schemas.Decided, "description": "The decision stands."}},
        errors=(400, 404, 409, 413, 422),
        error=schemas.RunError,
    ),
)
async def decide(call: Call) -> Response:
    """Decide about a tool call, first decision wins; the same again gets the same answer.

    Denied: the tool does not run, the model hears the reason and goes on.
    """
    services: Services = call.services
    body = await call.body_as(schemas.ApprovalBody)
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    tool_call_id = call.path_text("toolCallId", ApprovalNotFound)
    decision = Decision(body.approved, body.reason)
    await services.approvals.decide(call.principal, execution_id, tool_call_id, decision)
    return json_response(schemas.Decided(success=True))


@router.get(
    _PATH + "/{executionId}/stream",
    tags=["runs"],
    **operation(
        "streamRun",
        "Reconnect to a run's stream",
        path={"executionId": "The run's id, or the AI SDK's chat id: its newest run."},
        query=schemas.StreamQuery,
        headers=(_START_INDEX, LAST_EVENT_ID, TICKET),
        answers={
            200: {"description": "The frames from the start or an index, then as they come."}
            | _STREAMED,
            204: {
                "description": "The chat is unknown, or no run of it is live; or `Last-Event-ID` "
                "is the last frame of a run that has ended."
            },
        },
        errors=(400, 404),
        error=schemas.RunError,
    ),
)
async def stream_run(call: Call) -> Response:
    """Replays the run's frames, then follows it to its end; held open while it waits."""
    query = call.query_as(schemas.StreamQuery)
    execution = await _named(call)
    if execution is None:
        return Response(status_code=204)
    if execution.is_purged:
        raise ExecutionNotFound("Its conversation was deleted; there is nothing left to stream.")
    chosen = query.format or kept_format(execution)
    return await streams.replay(call, execution.id, chosen, query.start_index)


async def _named(call: Call) -> Execution | None:
    """The run of this id, else the live newest run of the chat of this id; None: there is none.

    Raises ExecutionNotFound for an id that can only be a run's.
    """
    services: Services = call.services
    text = call.path_text("executionId", ExecutionNotFound)
    try:
        execution_id = parse(EXECUTION, text)
        return (await services.executions.get(call.principal, execution_id)).execution
    except InvalidId:
        pass
    except ExecutionNotFound:
        if "_" in text:
            raise
    newest = await services.executions.newest_of_chat(call.principal, text)
    if newest is None or newest.status not in LIVE:
        return None
    return (await services.executions.get(call.principal, newest.id)).execution
