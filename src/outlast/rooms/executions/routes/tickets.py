"""Stream tickets: parse, call, render."""

from typing import Annotated, Final

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.spool import json_response
from outlast.model.clock import iso
from outlast.model.error import ExecutionNotFound
from outlast.model.ids import EXECUTION
from outlast.model.workspace import Scope
from outlast.rooms.executions.routes.executions import EXECUTION_PATH
from outlast.services.all import Services


class StreamTicket(TypedDict):
    """A ticket for one execution's stream, in place of a key."""

    ticket: Annotated[str, Field(description="For `?ticket=` of its stream, in any room.")]
    expiresAt: str


async def create_stream_ticket(call: Call, services: Services) -> Response:
    """A ticket that opens this execution's stream in any room, as `?ticket=`, and nothing else.

    For a browser's EventSource, which sends no headers; it may come back with it for an hour.
    """
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    ticket = await services.tickets.issue(call.principal, execution_id)
    ticket_object: StreamTicket = {"ticket": ticket.secret, "expiresAt": iso(ticket.expires_at)}
    return json_response(ticket_object)


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/executions/{executionId}/stream-ticket",
        create_stream_ticket,
        scope=Scope.EXECUTIONS_READ,
        name="createStreamTicket",
        summary="Get a ticket for a stream",
        tag="executions",
        parameters=EXECUTION_PATH,
        answers={200: Answer("The ticket.", StreamTicket)},
        errors=(404,),
    ),
)
