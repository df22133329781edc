"""Durable task state: checkpoints, pause, resume, roll back; driven by a client or the server."""

from outlast.http.room import Room, Surface


def _surface() -> Surface:
    from outlast.rooms.tasks.render import error
    from outlast.rooms.tasks.routes import ENDPOINTS
    from outlast.rooms.tasks.schemas import TaskError

    return Surface(ENDPOINTS, error, TaskError)


room = Room("tasks", ("/v1/execution",), _surface)
