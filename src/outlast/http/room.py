"""A room: one API surface, mounted by the composition root."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import Scope

from outlast.http.endpoint import Endpoint
from outlast.http.errors import Error, Problem, RenderError, error_response
from outlast.http.fold import NewFold

ErrorPage: TypeAlias = Callable[[Problem, Scope], Response]


@dataclass(frozen=True, slots=True)
class Room:
    """Everything that the rest of the server needs to know of a room."""

    name: str
    prefixes: tuple[str, ...]
    """Path prefixes of the room; an unknown route below one of them gets the room's error shape."""
    endpoints: tuple[Endpoint, ...]
    """Endpoints in the order in which they are tried."""
    render_error: RenderError
    error: type = Error
    """The shape of its errors."""
    fold: NewFold | None = None
    """Fold of its stream, if other rooms may use it."""
    error_page: ErrorPage | None = None
    """Renders an error for people, in the place of JSON."""

    def refusal(self, problem: Problem, scope: Scope) -> Response:
        """Return the response to a request that failed."""
        if self.error_page is not None:
            return self.error_page(problem, scope)
        return error_response(problem, scope, self.render_error)
