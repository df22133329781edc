"""The route of an endpoint: authenticate, check the scope, call the handler, render errors.

A handler's response is sent as it is; errors are rendered by its room.
"""

from starlette.responses import Response
from starlette.routing import Match
from starlette.routing import Route as BaseRoute
from starlette.types import Receive, Scope, Send

from outlast.http.access_log import KEY
from outlast.http.call import Call, secret_of
from outlast.http.endpoint import Endpoint
from outlast.http.errors import error_response, problem_of
from outlast.http.room import Room
from outlast.http.scope import note_principal
from outlast.http.unknown import WARNING_HEADER, warning_of
from outlast.metrics import Metrics
from outlast.model.workspace import Principal
from outlast.services.all import Services


class Route(BaseRoute):
    """Serves the requests of one endpoint."""

    def __init__(
        self, endpoint: Endpoint, room: Room, services: Services, metrics: Metrics
    ) -> None:
        super().__init__(_routed(endpoint), endpoint.handler, name=endpoint.name)
        self.path = endpoint.path
        self.methods = {endpoint.method}
        self.app = self._answer
        self._handler = endpoint.handler
        self._bodyless = endpoint.bodyless
        self._scopes = frozenset(endpoint.scopes)
        self._scope = next(iter(endpoint.scopes), None)
        self._takes_ticket = endpoint.takes_ticket
        self._room = room.name
        self._render_error = room.surface.render_error
        self._services = services
        self._metrics = metrics

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        if self._bodyless and not (match is Match.FULL and self.takes(scope)):
            return Match.NONE, {}
        return match, child if match is Match.NONE else {**child, "route": self}

    def takes(self, scope: Scope) -> bool:
        """Whether it serves a request whose method and path match."""
        return not (self._bodyless and _has_body(scope))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._response(Call(scope, receive))
        self._metrics.answered(self._room, scope["method"], self.path, response.status_code)
        await response(scope, receive, send)

    async def _response(self, call: Call) -> Response:
        call.takes_ticket = self._takes_ticket
        try:
            if self._scope is not None:
                call.principal = principal = await self._principal(call)
                call.scope[KEY] = principal.key_id
                note_principal(call.scope, principal)
                if not self._scopes & principal.scopes:
                    principal.require(self._scope)
            call.require_storable_query()
            response = await self._handler(call, self._services)
        except Exception as error:  # noqa: BLE001 - the top of a request; problem_of logs unexpected errors
            return self._refusal(error, call)
        if call.unknown:
            response.headers[WARNING_HEADER] = warning_of([*call.unknown])
        return response

    def _refusal(self, error: Exception, call: Call) -> Response:
        return error_response(problem_of(error), call.scope, self._render_error)

    async def _principal(self, call: Call) -> Principal:
        """Authenticate the request by key, or by ticket if the endpoint accepts one.

        Raises Unauthenticated.
        """
        opens = self._takes_ticket and call.scope["query_string"]
        if opens and (ticket := call.query_params.get("ticket")):
            return await self._services.tickets.redeem(ticket, call.path_params["executionId"])
        return await self._services.keys.authenticate(secret_of(call))


def _has_body(scope: Scope) -> bool:
    """Whether the request has a body, by these headers (RFC 9112, 6.3)."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")
        for name, value in scope["headers"]
    )


def _routed(endpoint: Endpoint) -> str:
    """Return the path as the framework reads it."""
    if endpoint.rest is None:
        return endpoint.path
    return endpoint.path.replace(f"{{{endpoint.rest}}}", f"{{{endpoint.rest}:path}}")
