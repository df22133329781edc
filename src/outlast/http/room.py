"""A room: one API surface, as the composition root mounts it."""

from dataclasses import dataclass

from fastapi import APIRouter

from outlast.http.errors import RenderError


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
