"""Routes that answer by themselves: authenticate, call the handler, render errors as the room does.

A handler takes one Call and returns a ready Response, so nothing stands between it and the wire;
what FastAPI would learn from a signature is said in the route's document (`operation`).
"""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

import orjson
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from outlast.http.access_log import CODE, KEY
from outlast.http.errors import RenderError, error_object, error_response, problem_of
from outlast.http.request import Call, secret_of
from outlast.http.unknown import WARNING_HEADER, warning_of
from outlast.metrics import Metrics
from outlast.model.workspace import Principal

_STREAM: Final = "/{executionId}/stream"

Handler = Callable[[Call], Awaitable[Response]]


class Route(APIRoute):
    """A route of a room whose errors look like `render_error`."""

    room: ClassVar[str] = "executions"
    render_error: ClassVar[RenderError] = staticmethod(error_object)

    def __init__(self, path: str, endpoint: Handler, **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        self.app = self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive)
        response = await self._response(call)
        metrics: Metrics = scope["app"].state.metrics
        metrics.answered(self.room, scope["method"], self.path, response.status_code)
        await response(scope, receive, send)

    async def _response(self, call: Call) -> Response:
        try:
            call.principal = await self._principal(call)
            call.scope[KEY] = call.principal.key_id
            response: Response = await self.endpoint(call)
        except Exception as error:  # noqa: BLE001 - the top of a request; problem_of logs what nobody foresaw
            problem = problem_of(error)
            call.scope[CODE] = problem.code
            return error_response(problem, call.request_id, type(self).render_error)
        if call.unknown:
            response.headers[WARNING_HEADER] = warning_of([*call.unknown])
        return response

    async def _principal(self, call: Call) -> Principal:
        """Who asks, by key; an execution's stream opens to a ticket too. Raises Unauthenticated."""
        services: Any = call.services
        opens = call.scope["query_string"] and self.path.endswith(_STREAM)
        if opens and (ticket := call.query_params.get("ticket")):
            opened: Principal = services.tickets.redeem(ticket, call.path_params["executionId"])
            return opened
        known: Principal = await services.keys.authenticate(secret_of(call))
        return known


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value as JSON."""
    return Response(orjson.dumps(value), status, headers, "application/json")
