"""A room: one API surface, mounted by the composition root.

A room is named without its modules: a server that has no request for it does not import them.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Scope

from outlast.http.endpoint import Endpoint
from outlast.http.errors import Error, Problem, RenderError, error_response
from outlast.http.fold import NewFold

ErrorPage: TypeAlias = Callable[[Problem, Scope], Response]


@dataclass(frozen=True, slots=True)
class Surface:
    """What a room serves, and how its errors look."""

    endpoints: tuple[Endpoint, ...]
    """Endpoints in the order in which they are tried."""
    render_error: RenderError
    error: type = Error
    """The shape of its errors."""
    fold: NewFold | None = None
    """Fold of its stream, if other rooms may use it."""
    error_page: ErrorPage | None = None
    """Renders an error for people, in the place of JSON."""


@dataclass(frozen=True)
class Room:
    """Everything that the rest of the server needs to know of a room."""

    name: str
    prefixes: tuple[str, ...]
    """Path prefixes of the room; an unknown route below one of them gets the room's error shape."""
    load: Callable[[], Surface]
    """Imports the room's modules."""

    @cached_property
    def surface(self) -> Surface:
        """What the room serves; imports its modules when first read."""
        return self.load()

    async def open(self) -> Surface:
        """Return what the room serves; its modules are imported in a thread.

        That takes longer than a stream may wait.
        """
        if "surface" in self.__dict__:
            return self.surface
        return await asyncio.to_thread(lambda: self.surface)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Endpoints in the order in which they are tried."""
        return self.surface.endpoints

    def refusal(self, problem: Problem, scope: Scope) -> Response:
        """Return the response to a request that failed."""
        surface = self.surface
        if surface.error_page is not None:
            return surface.error_page(problem, scope)
        return error_response(problem, scope, surface.render_error)
