"""Background runs, started without a body and polled as events."""

from outlast.http.errors import error_object
from outlast.http.room import Room
from outlast.rooms.background.routes import ENDPOINTS

room = Room("background", ("/v1/events",), ENDPOINTS, error_object)
