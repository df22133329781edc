"""Background runs, started without a body and polled as events."""

from outlast.http.errors import error_object
from outlast.http.room import Room, Surface


def _surface() -> Surface:
    from outlast.rooms.background.routes import ENDPOINTS

    return Surface(ENDPOINTS, error_object)


room = Room("background", ("/v1/events",), _surface)
