"""A room: one API surface, mounted by the composition root."""

from dataclasses import dataclass

from outlast.http.endpoint import Endpoint
from outlast.http.errors import Error, RenderError
from outlast.http.fold import NewFold


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
