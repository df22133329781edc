"""A room: one API surface, as the composition root mounts it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from fastapi import APIRouter

from outlast.http.errors import RenderError
from outlast.model.event import Entry


class Fold(Protocol):
    """Turns one execution's log into the frames of a room's stream."""

    def frames(self, entries: Iterable[Entry]) -> bytes:
        """The frames of the next entries, which come piece by piece from the log's very start."""
        ...


NewFold: TypeAlias = Callable[[str], Fold]
"""Makes the fold of an execution's log, given its id."""


@dataclass(frozen=True, slots=True)
class Room:
    """One value says everything that the rest of the server needs to know of a room."""

    name: str
    prefixes: tuple[str, ...]
    """Paths that it answers for; an unknown route below one of them gets the room's error shape."""
    router: APIRouter
    render_error: RenderError
    schemas: tuple[type, ...] = ()
    """Models that the OpenAPI document names: request bodies and answers."""
    fold: NewFold | None = None
    """Its stream's frames, where another room may give them out too."""
