"""Durable streamed runs: three stream formats, tool approvals, reconnection by index."""

from outlast.http.room import Room, Surface


def _surface() -> Surface:
    from outlast.rooms.runs.render import error
    from outlast.rooms.runs.routes import ENDPOINTS
    from outlast.rooms.runs.schemas import RunError

    return Surface(ENDPOINTS, error, RunError)


room = Room("runs", ("/run/api", "/run"), _surface)
