"""The fast path from a request to its route.

Our routes authenticate, parse and respond by themselves (`http/route.py`), so they need none of a
web framework's handling. A request whose route is found by method, number of path segments and
static prefix goes there directly. One that no route takes may open a room whose modules are not
imported yet; everything else, a wrong method too, goes to the framework.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from outlast.http.prefix import route_path
from outlast.http.route import Route

Key: TypeAlias = tuple[str, int, str]
"""Method, number of segments, static prefix of the path."""
OpenRoom: TypeAlias = Callable[[str], Awaitable[Sequence[Route]]]
"""Opens the room of a path, and returns its routes; none if that room is open, or there is none."""

_HEAD: Final = 2
"""Segments that are static in every route: `/v1/agents`, `/run/api`."""


class Dispatch:
    """ASGI application that passes a request to a route of the open rooms, else to `other`."""

    def __init__(self, other: ASGIApp, open_room: OpenRoom) -> None:
        self._other = other
        self._open_room = open_room
        self._routes: dict[Key, list[Route]] = {}

    def _add(self, routes: Iterable[Route]) -> None:
        """Index routes; they are tried in this order."""
        for route in routes:
            for method in route.methods or ():
                self._routes.setdefault(_key(method, route.path), []).append(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope)
        for route in self._routes.get(_key(scope["method"], path), ()):
            found = route.path_regex.match(path)
            if found is not None and route.takes(scope):
                scope["path_params"] = {**scope.get("path_params", {}), **found.groupdict()}
                scope["route"] = route
                await route.app(scope, receive, send)
                return
        if routes := await self._open_room(path):
            self._add(routes)
            await self(scope, receive, send)
        else:
            await self._other(scope, receive, send)


def _key(method: str, path: str) -> Key:
    _, *segments = path.split("/", _HEAD + 1)
    return method, path.count("/"), "/".join(segments[:_HEAD])
