"""Durable task state: checkpoints, pause, resume, roll back; driven by a client or the server."""

from outlast.http.room import Room
from outlast.rooms.tasks.render import error
from outlast.rooms.tasks.routes import ENDPOINTS
from outlast.rooms.tasks.schemas import TaskError

room = Room("tasks", ("/v1/execution",), ENDPOINTS, error, TaskError)
