"""Calls that the client runs: give the result of one."""

from typing import Annotated, Any, Final

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.http.call import Call
from outlast.http.client_tools import AnswerBody
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.spool import json_response
from outlast.model.client_call import ClientCallNotFound
from outlast.model.clock import iso, iso_or_none
from outlast.model.error import ExecutionNotFound
from outlast.model.ids import EXECUTION, TOOL_CALL
from outlast.model.wait import Wait
from outlast.model.workspace import Scope
from outlast.rooms.executions.routes.executions import EXECUTION_PATH
from outlast.services.all import Services


class ClientCall(TypedDict):
    """A call that the client runs."""

    executionId: str
    toolCallId: str
    name: Annotated[str, Field(description="The tool's.")]
    parameters: dict[str, Any]
    result: Annotated[Any, Field(description="JSON; the error's text where isError.")]
    isError: Annotated[bool | None, Field(description="Null while it waits.")]
    decidedBy: Annotated[str | None, Field(description="The key's id; null: its time was over.")]
    requestedAt: str
    decidedAt: str | None
    expiresAt: Annotated[str | None, Field(description="When it fails for want of a result.")]


async def answer_call(call: Call, services: Services) -> Response:
    """Gives a call's result; the first one stands, and the same one again gets the same answer.

    The execution goes on once nothing else is awaited. `error`: the model reads it as the tool's.
    """
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    tool_call_id = call.path_id("toolCallId", TOOL_CALL, ClientCallNotFound)
    body = await call.body_as(AnswerBody)
    answered = await services.client_calls.answer(
        call.principal, execution_id, tool_call_id, body.given
    )
    return json_response(_shown(answered))


def _shown(wait: Wait) -> ClientCall:
    return {
        "executionId": wait.execution_id,
        "toolCallId": wait.tool_call_id,
        "name": wait.name,
        "parameters": wait.arguments,
        "result": wait.result,
        "isError": None if wait.is_open else wait.is_error,
        "decidedBy": wait.decided_by,
        "requestedAt": iso(wait.requested_at),
        "decidedAt": iso_or_none(wait.decided_at),
        "expiresAt": iso_or_none(wait.due_at),
    }


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/executions/{executionId}/client-calls/{toolCallId}",
        answer_call,
        scope=Scope.AGENTS_EXECUTE,
        name="answerClientCall",
        summary="Give the result of a call that the client runs",
        tag="client calls",
        parameters=EXECUTION_PATH | {"toolCallId": "The tool call's id."},
        body=AnswerBody,
        answers={200: Answer("As it is answered.", ClientCall)},
        errors=(400, 404, 409, 413, 422),
    ),
)
