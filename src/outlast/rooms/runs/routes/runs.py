"""The routes of the runs room: parse, call, render."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.client_tools import AnswerBody
from outlast.http.endpoint import IDEMPOTENCY_KEY, LAST_EVENT_ID, TICKET, Answer, Endpoint
from outlast.http.spool import json_response, whole_response
from outlast.model.client_call import ClientCallNotFound
from outlast.model.error import (
    ApprovalNotFound,
    ExecutionNotFound,
    InvalidId,
)
from outlast.model.execution import LIVE, Execution
from outlast.model.ids import EXECUTION, parse
from outlast.model.workspace import Scope
from outlast.rooms.runs import render, schemas
from outlast.rooms.runs.routes.execute import execute, kept_format
from outlast.rooms.runs.stream import responses
from outlast.rooms.runs.stream.formats import Format
from outlast.services.all import Services
from outlast.services.approvals import Decision

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
_STREAMED: Final = {"text/event-stream": {"schema": _EVENT, "examples": _EXAMPLES}}
_START_INDEX: Final = {
    "name": responses.START_INDEX,
    "in": "header",
    "description": "Like `startIndex`, and wins over it.",
    "schema": {"type": "integer"},
}


async def get_run(call: Call, services: Services) -> Response:
    """The run's status."""
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)

    async def read() -> schemas.Run:
        view = await services.executions.get(call.principal, execution_id)
        return render.run(view.execution)

    return await whole_response(call.spools, read)


async def decide(call: Call, services: Services) -> Response:
    """Decide about a tool call, first decision wins; the same again gets the same answer.

    Denied: the tool does not run, the model reads the reason and continues.
    """
    body = await call.body_as(schemas.ApprovalBody)
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    tool_call_id = call.path_text("toolCallId", ApprovalNotFound)
    decision = Decision(body.approved, body.reason)
    await services.approvals.decide(call.principal, execution_id, tool_call_id, decision)
    return json_response(schemas.Decided(success=True))


async def answer_call(call: Call, services: Services) -> Response:
    """Give the result of a call that the client runs; the same again gets the same answer.

    The first one stands. `error`: the model reads it as the tool's.
    """
    body = await call.body_as(AnswerBody)
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    tool_call_id = call.path_text("toolCallId", ClientCallNotFound)
    await services.client_calls.answer(call.principal, execution_id, tool_call_id, body.given)
    return json_response(schemas.Decided(success=True))


async def stream_run(call: Call, services: Services) -> Response:
    """Replays the run's frames, then follows it to its end; held open while it waits."""
    query = call.query_as(schemas.StreamQuery)
    followed = await _followed(call, services)
    if followed is None:
        return Response(status_code=204)
    execution_id, kept, by_chat = followed
    chosen = query.format or kept
    return await responses.replay(
        call, services, execution_id, chosen, query.start_index, to_chat=by_chat
    )


async def _followed(call: Call, services: Services) -> tuple[str, Format, bool] | None:
    """Return id and format of a run to stream, and whether its chat is named.

    None if there is none. Raises ExecutionNotFound.
    """
    execution = await _named(call, services)
    if execution is None:
        return None
    if execution.is_purged:
        raise ExecutionNotFound("Its conversation was deleted; there is nothing left to stream.")
    by_chat = call.path_text("executionId", ExecutionNotFound) == execution.origin.chat_id
    return execution.id, kept_format(execution), by_chat


async def _named(call: Call, services: Services) -> Execution | None:
    """Return the run of this id, else the chat's newest run if live; None if there is none.

    Raises ExecutionNotFound for an id that can only be a run's.
    """
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


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        _PATH,
        execute,
        scope=(Scope.AGENTS_EXECUTE, Scope.APPROVALS_WRITE),
        name="createRun",
        summary="Run the key's agent",
        tag="runs",
        query=schemas.RunQuery,
        headers=(IDEMPOTENCY_KEY,),
        body=schemas.RunBody,
        answers={
            200: Answer(
                "The run's events as they happen, in the requested format.", content=_STREAMED
            )
        },
        errors=(400, 404, 409, 413, 422),
    ),
    Endpoint(
        "GET",
        _PATH + "/{executionId}",
        get_run,
        scope=Scope.EXECUTIONS_READ,
        name="getRun",
        summary="Get a run's status",
        tag="runs",
        parameters=_RUN,
        answers={200: Answer("The run.", schemas.Run)},
        errors=(404,),
    ),
    Endpoint(
        "POST",
        _PATH + "/{executionId}/approvals/{toolCallId}",
        decide,
        scope=Scope.APPROVALS_WRITE,
        name="decideRunApproval",
        summary="Approve or deny a tool call",
        tag="runs",
        parameters=_RUN | {"toolCallId": "The tool call that waits."},
        body=schemas.ApprovalBody,
        answers={200: Answer("The decision stands.", schemas.Decided)},
        errors=(400, 404, 409, 413, 422),
    ),
    Endpoint(
        "POST",
        _PATH + "/{executionId}/client-calls/{toolCallId}",
        answer_call,
        scope=Scope.AGENTS_EXECUTE,
        name="answerRunClientCall",
        summary="Give the result of a call that the client runs",
        tag="runs",
        parameters=_RUN | {"toolCallId": "The tool call that waits."},
        body=AnswerBody,
        answers={200: Answer("The result stands.", schemas.Decided)},
        errors=(400, 404, 409, 413, 422),
    ),
    Endpoint(
        "GET",
        _PATH + "/{executionId}/stream",
        stream_run,
        scope=Scope.EXECUTIONS_READ,
        name="streamRun",
        summary="Reconnect to a run's stream",
        tag="runs",
        parameters={"executionId": "The run's id, or the AI SDK's chat id: its newest run."},
        query=schemas.StreamQuery,
        headers=(_START_INDEX, LAST_EVENT_ID, TICKET),
        answers={
            200: Answer(
                "The frames from the start or an index, then as they come.", content=_STREAMED
            ),
            204: Answer(
                "The chat is unknown, or no run of it is live; or `Last-Event-ID` "
                "is the last frame of a run that has ended."
            ),
        },
        errors=(400, 404),
    ),
)
