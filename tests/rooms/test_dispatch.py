"""The short way to a route finds what the framework's search would find."""

import re
from typing import Any

import pytest
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from outlast.http.dispatch import Dispatch, OpenRoom
from outlast.http.route import Route
from outlast.web import ROOMS

pytestmark = pytest.mark.anyio

UNUSED: Any = None
"""Services and metrics, which no route needs to be found."""
ROUTES = [Route(endpoint, room, UNUSED, UNUSED) for room in ROOMS for endpoint in room.endpoints]
BODY = ((b"content-length", b"2"),)


def _scope(method: str, path: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Scope:
    return {"type": "http", "method": method, "path": path, "headers": headers}


def _searched(scope: Scope) -> Route:
    return next(route for route in ROUTES if route.matches(dict(scope))[0] is Match.FULL)


async def _none(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise AssertionError("It went the framework's way.")


def _every_room() -> OpenRoom:
    """Opens all of them at the first path."""
    closed = [ROUTES]

    async def opened(_path: str) -> list[Route]:
        return closed.pop() if closed else []

    return opened


async def _found(scope: Scope, monkeypatch: pytest.MonkeyPatch) -> Scope:
    """Return the scope as the route that was found has it."""
    taken: list[Scope] = []

    async def take(scope: Scope, _receive: Receive, _send: Send) -> None:
        taken.append(scope)

    for route in ROUTES:
        monkeypatch.setattr(route, "app", take)

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(_message: object) -> None:
        """Nothing is answered."""

    await Dispatch(_none, _every_room())(scope, receive, send)
    [only] = taken
    return only


@pytest.mark.parametrize("headers", [(), BODY], ids=["bare", "body"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.methods} {route.path}")
async def test_every_route_is_found_as_the_framework_finds_it(
    route: Route, headers: tuple[tuple[bytes, bytes], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = re.sub(r"{(\w+)}", r"a \1", route.path)
    for method in route.methods or ():
        searched = _searched(_scope(method, path, headers))
        found = await _found(_scope(method, path, headers), monkeypatch)
        assert found["route"] is searched
        _, child = searched.matches(_scope(method, path, headers))
        assert found["path_params"] == child["path_params"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/v1/agents"),
        ("GET", "/v1/agents/a/b/c"),
        ("GET", "/v1/agents/"),
        ("GET", "//v1/agents"),
        ("GET", ""),
        ("GET", "/"),
        ("GET", "*"),
        ("HEAD", "/v1/agents"),
        ("GET", "/V1/agents"),
    ],
)
async def test_what_no_route_takes_goes_the_frameworks_way(method: str, path: str) -> None:
    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(_message: object) -> None:
        """Nothing is answered."""

    with pytest.raises(AssertionError, match="framework"):
        await Dispatch(_none, _every_room())(_scope(method, path), receive, send)
