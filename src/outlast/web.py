"""The HTTP application: rooms over one core, health, metrics and the OpenAPI document.

Rooms render their own errors. The error for a path without a route has the shape of the room with
the longest matching prefix.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from outlast import __version__
from outlast.app import Core
from outlast.http.dispatch import Dispatch, OpenRoom
from outlast.http.errors import NO_ROUTE, Problem, method_problem, problem_of
from outlast.http.open_streams import OpenStreams
from outlast.http.prefix import Prefixes, route_path
from outlast.http.request_ids import RequestIds
from outlast.http.room import Room
from outlast.http.route import Route as EndpointRoute
from outlast.http.spool import Spools, json_response
from outlast.http.unknown import WARNING_HEADER
from outlast.metrics import CONTENT_TYPE
from outlast.model.clock import Clock
from outlast.model.error import Overloaded
from outlast.reference import Reference
from outlast.rooms.background import room as background
from outlast.rooms.console import room as console
from outlast.rooms.console import routes as console_routes
from outlast.rooms.executions import room as executions
from outlast.rooms.records import room as records
from outlast.rooms.runs import room as runs
from outlast.rooms.tasks import room as tasks
from outlast.settings import Settings

ROOMS: Final[tuple[Room, ...]] = (background, executions, records, runs, tasks)
"""Rooms in the order in which their routes are tried."""
_MAIN: Final = executions
_REFERENCE: Final = Reference(ROOMS)
"""All applications of a process have the same document."""
_ALL: Final = (*ROOMS, console)
"""Also the room of pages, of which the OpenAPI document says nothing."""
_TOGETHER: Final = (background, executions)
"""Rooms that are opened together: they have routes below the same prefixes."""
HEALTH: Final = ("/healthz", "/readyz", "/metrics")
"""Routes that are served even if the server is full."""
_METHOD_NOT_ALLOWED: Final = 405
EXPOSED: Final = (
    "X-Request-Id",
    "X-Execution-Id",
    "x-workflow-run-id",
    "x-workflow-stream-tail-index",
    "x-vercel-ai-ui-message-stream",
    "Location",
    "Link",
    "Idempotency-Replayed",
    WARNING_HEADER,
)
"""Response headers that a page of another origin may read."""


def create_app(core: Core, rooms: tuple[Room, ...] = ROOMS) -> "App":
    """Return the application over a core; without rooms it serves health checks only.

    A server that runs ASGI's lifespan opens, starts and closes the core with it; others do so
    themselves. `app.state.streams.end()` tells the clients of open streams to reconnect, and ends
    them.
    """

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        await core.open()
        try:
            await core.start()
            yield
        finally:
            core.streams.leave()
            app.state.streams.end()
            app.state.streams.spools.close()
            await core.close()

    has_console = bool(rooms) and core.settings.console
    late = _LateRooms(core, (*rooms, console) if has_console else rooms)
    others = [*_REFERENCE.routes, *_Health(core).routes]
    if rooms:
        others.append(Route("/", _lead_on if has_console else _point_on))
    app = App(
        routes=others,
        exception_handlers={HTTPException: _answer_unrouted, Exception: _answer_mistake},
        lifespan=life,
    )
    app.router.redirect_slashes = False
    app.state.settings = core.settings
    app.state.streams = OpenStreams(
        core.settings.stream_keep_alive_seconds,
        core.services.keys.spent,
        core.metrics.failures,
        Spools(core.settings.data_dir),
    )
    app.state.version = __version__
    app.state.main = _MAIN
    app.openapi = _REFERENCE.document
    app.entrance = _entrance(core, Dispatch(app.framework, late.opener(app)))
    return app


async def warm_up() -> None:
    """Import the rooms that most requests are for, so that the first one need not wait."""
    for room in _TOGETHER:
        await room.open()


def _routes_of(room: Room, core: Core) -> list[EndpointRoute]:
    if room is console:
        return console_routes(core.services, core.metrics)
    return [
        EndpointRoute(endpoint, room, core.services, core.metrics) for endpoint in room.endpoints
    ]


class _LateRooms:
    """Rooms of an application that no request has opened yet."""

    def __init__(self, core: Core, rooms: Iterable[Room]) -> None:
        self._core = core
        self._closed = list(rooms)
        self._lock = asyncio.Lock()

    def opener(self, app: Starlette) -> OpenRoom:
        """Return what opens the room of a path; the application has its routes afterwards."""

        async def open_room(path: str) -> list[EndpointRoute]:
            if _room_of(path, self._closed) is None:
                return []
            async with self._lock:
                room = _room_of(path, self._closed)
                if room is None:  # opened meanwhile; the framework finds the route
                    return []
                together = _TOGETHER if room in _TOGETHER else (room,)
                routes = list[EndpointRoute]()
                for one in [one for one in self._closed if one in together]:
                    await one.open()
                    routes += _routes_of(one, self._core)
                    self._closed.remove(one)
            app.router.routes.extend(routes)
            return routes

        return open_room


class App(Starlette):
    """The framework's application behind Outlast's middleware."""

    entrance: ASGIApp
    openapi: Callable[[], dict[str, Any]]
    """Returns the OpenAPI document."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.framework(scope, receive, send)
            return
        scope["app"] = self
        await self.entrance(scope, receive, send)

    async def framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as the framework does: its middleware, then the first route that fits."""
        await super().__call__(scope, receive, send)


def _entrance(core: Core, rooms: ASGIApp) -> ASGIApp:
    """Return the middleware that every request passes on its way to the rooms."""
    entrance: ASGIApp = RequestIds(rooms, core.clock, _prefixes(core.settings))
    if core.settings.cors:
        entrance = CORSMiddleware(
            entrance,
            allow_origins=core.settings.cors,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=("*",),
            expose_headers=EXPOSED,
        )
    return entrance


def refusing(app: App, clock: Clock) -> ASGIApp:
    """Return the application of a full server: it serves health checks, the rest is 503."""
    prefixes = _prefixes(app.state.settings)

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if prefixes.path_of(scope) in HEALTH:
            await app(scope, receive, send)
        else:
            await full(scope, receive, send)

    async def answer_full(scope: Scope, receive: Receive, send: Send) -> None:
        problem = problem_of(Overloaded("The server has as many connections as it may have."))
        scope["app"] = app
        response = await _refusal(problem, scope)
        await response(scope, receive, send)

    full = RequestIds(answer_full, clock, prefixes)
    return refuse


def _prefixes(settings: Settings) -> Prefixes:
    served = (*(prefix for room in _ALL for prefix in room.prefixes), *HEALTH)
    return Prefixes(settings.root_path, settings.proxies, served)


async def _point_on(request: Request) -> Response:
    """Return name, version and links, for people who open the server's address."""
    root: str = request.scope.get("root_path", "")
    links = {"docs": "/docs", "openapi": "/openapi.json", "health": "/healthz", "ready": "/readyz"}
    shown = {name: root + path for name, path in links.items()}
    return json_response({"name": "Outlast", "version": __version__, **shown})


async def _lead_on(request: Request) -> Response:
    """Lead a browser to the console; the same links for others."""
    if "text/html" not in request.headers.get("accept", ""):
        return await _point_on(request)
    root: str = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}/console", 303)


class _Health:
    """Health: whether the process lives, and whether it takes work."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._metrics = core.metrics
        self.routes = [
            Route(path, answer)
            for path, answer in zip(HEALTH, (self.healthz, self.readyz, self.metrics), strict=True)
        ]

    async def healthz(self, _request: Request) -> Response:
        return json_response({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        try:
            await self._core.store.ready()
        except Overloaded as error:
            return _not_ready(error.message)
        if not self._core.engine.accepting:
            return _not_ready("The server takes no work: it starts or leaves.")
        return json_response({"status": "ready"})

    async def metrics(self, _request: Request) -> Response:
        return Response(self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})


def _not_ready(reason: str) -> Response:
    return json_response({"status": "unavailable", "reason": reason}, 503)


# --- what no route answers


async def _refusal(problem: Problem, scope: Scope) -> Response:
    """Return the response to a request that failed outside of a route, as its room has it."""
    room = _room_of(route_path(scope), _ALL) or _MAIN
    await room.open()
    return room.refusal(problem, scope)


def _room_of(path: str, rooms: Iterable[Room]) -> Room | None:
    """Return the room with the longest prefix of this path."""
    fitting = [
        (len(prefix), room) for room in rooms for prefix in room.prefixes if _below(path, prefix)
    ]
    return max(fitting, key=lambda found: found[0])[1] if fitting else None


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


async def _answer_unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = NO_ROUTE
    if error.status_code == _METHOD_NOT_ALLOWED:
        problem = method_problem(", ".join(_allowed(request)))
    return await _refusal(problem, request.scope)


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes with this path."""
    methods: set[str] = set()
    for route in request.app.router.routes:
        match, _ = route.matches(request.scope)
        if match is Match.PARTIAL:
            methods |= route.methods
    return sorted(methods)


async def _answer_mistake(request: Request, error: Exception) -> Response:
    return await _refusal(problem_of(error), request.scope)
