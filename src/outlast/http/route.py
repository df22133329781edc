"""Routes that answer by themselves: authenticate, call the handler, render errors as the room does.

A handler takes one Call and returns a ready Response, so nothing stands between it and the wire;
what FastAPI would learn from a signature is said in the route's document (`operation`).
"""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from outlast.http.access_log import KEY
from outlast.http.document import TICKET
from outlast.http.errors import RenderError, error_object, error_response, problem_of
from outlast.http.request import Call, secret_of
from outlast.http.scope import note_principal
from outlast.http.unknown import WARNING_HEADER, warning_of
from outlast.metrics import Metrics
from outlast.model.workspace import Principal

Handler = Callable[[Call], Awaitable[Response]]


class Route(APIRoute):
    """A route of a room whose errors look like `render_error`."""

    room: ClassVar[str] = "executions"
    render_error: ClassVar[RenderError] = staticmethod(error_object)

    def __init__(self, path: str, endpoint: Handler, **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        self._takes_tickets = TICKET in (self.openapi_extra or {}).get("parameters", ())
        self.app = self._answer

    def takes(self, _scope: Scope) -> bool:
        """Whether this route answers a request whose method and path fit."""
        return True

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._response(Call(scope, receive))
        metrics: Metrics = scope["app"].state.metrics
        metrics.answered(self.room, scope["method"], self.path, response.status_code)
        await response(scope, receive, send)

    async def _response(self, call: Call) -> Response:
        call.takes_ticket = self._takes_tickets
        try:
            call.principal = await self._principal(call)
            call.scope[KEY] = call.principal.key_id
            note_principal(call.scope, call.principal)
            response: Response = await self.endpoint(call)
        except Exception as error:  # noqa: BLE001 - the top of a request; problem_of logs what nobody foresaw
            return error_response(problem_of(error), call.scope, type(self).render_error)
        if call.unknown:
            response.headers[WARNING_HEADER] = warning_of([*call.unknown])
        return response

    async def _principal(self, call: Call) -> Principal:
        """Who asks, by key, or by a ticket where the route says that it takes one.

        Raises Unauthenticated.
        """
        services: Any = call.services
        opens = call.takes_ticket and call.scope["query_string"]
        if opens and (ticket := call.query_params.get("ticket")):
            execution_id = call.path_params["executionId"]
            opened: Principal = await services.tickets.redeem(ticket, execution_id)
            return opened
        known: Principal = await services.keys.authenticate(secret_of(call))
        return known
