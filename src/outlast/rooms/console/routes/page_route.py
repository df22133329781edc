"""The route of a page: as other routes, but opened by a session, and with pages for errors."""

from typing import Final
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from outlast.http.access_log import CODE
from outlast.http.call import Call
from outlast.http.endpoint import Endpoint
from outlast.http.errors import Problem, problem_of
from outlast.http.room import Room
from outlast.http.route import Route
from outlast.metrics import Metrics
from outlast.model.error import OutlastError, Unauthenticated
from outlast.model.workspace import Principal
from outlast.rooms.console.render.frame import ROOT, SESSION
from outlast.rooms.console.render.page import page, prepare
from outlast.rooms.console.routes.door import (
    keep_session,
    next_page,
    page_of_piece,
    require_own_host,
    require_own_origin,
    secure,
    session_of,
    this_page,
)
from outlast.services.all import Services
from outlast.services.sessions import Session

_TITLES: Final = {
    400: "This request cannot be read",
    403: "Your key may not do this",
    404: "There is no such page",
    409: "Too late, or too early",
    503: "The server cannot answer now",
}
_READING: Final = frozenset({"GET", "HEAD"})


class PageRoute(Route):
    """Serves the requests of one page. HEAD is answered as GET, without the body."""

    def __init__(
        self, endpoint: Endpoint, room: Room, services: Services, metrics: Metrics
    ) -> None:
        super().__init__(endpoint, room, services, metrics)
        if endpoint.method in _READING:
            self.methods = set(_READING)

    async def _response(self, call: Call) -> Response:
        response = await self._page(call)
        return _head_of(response) if call.method == "HEAD" else response

    async def _page(self, call: Call) -> Response:
        await prepare()
        try:
            require_own_host(call)
            if call.method not in _READING:
                require_own_origin(call)
        except OutlastError as error:
            return self._refusal(error, call)
        response = secure(await super()._response(call))
        session: Session | None = call.scope.get(SESSION)
        if session is not None and session.is_old and "set-cookie" not in response.headers:
            keep_session(call, response, self._services.sessions.begin(session.principal))
        return response

    async def _principal(self, call: Call) -> Principal:
        session = await self._services.sessions.continued(session_of(call))
        call.scope[SESSION] = session
        return session.principal

    def _refusal(self, error: Exception, call: Call) -> Response:
        if isinstance(error, Unauthenticated):
            return secure(_sign_in(call))
        return error_page(problem_of(error), call.scope)


def _head_of(response: Response) -> Response:
    """Return the status and the headers of a response; a stream is not begun."""
    head = Response(status_code=response.status_code)
    head.raw_headers = response.raw_headers
    return head


def _sign_in(call: Call) -> Response:
    """Lead to the form that signs in, and back afterwards; a fragment makes its page go there."""
    is_piece = "hx-request" in call.headers
    back = page_of_piece(call) if is_piece else this_page(call) if call.method in _READING else ROOT
    there = call.link(f"{ROOT}/sign-in?next={quote(next_page(back), safe='')}")
    if is_piece:
        return Response(status_code=204, headers={"HX-Redirect": there})
    return RedirectResponse(there, 303)


def error_page(problem: Problem, scope: Scope) -> Response:
    """Return an error as a page."""
    scope[CODE] = problem.code
    title = _TITLES.get(problem.status, "This did not work")
    made = page(Call(scope), "error.html", problem.status, title=title, problem=problem)
    made.headers.update(problem.headers)
    return secure(made)
