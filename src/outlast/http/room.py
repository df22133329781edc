"""A room: one API surface, as the composition root mounts it."""

from dataclasses import dataclass

from outlast.http.endpoint import Endpoint
from outlast.http.errors import Error, RenderError
from outlast.http.fold import NewFold


@dataclass(frozen=True, slots=True)
class Room:
    """One value says everything that the rest of the server needs to know of a room."""

    name: str
    prefixes: tuple[str, ...]
    """Paths that it answers for; an unknown route below one of them gets the room's error shape."""
    endpoints: tuple[Endpoint, ...]
    """In the order in which they are tried."""
    render_error: RenderError
    error: type = Error
    """The shape of its errors."""
    fold: NewFold | None = None
    """Its stream's frames, where another room may give them out too."""
