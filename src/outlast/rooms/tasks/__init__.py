"""Durable task state: checkpoints, pause, resume, roll back; moved by a client or by the server."""

from outlast.http.room import Room
from outlast.rooms.tasks import schemas
from outlast.rooms.tasks.render import error
from outlast.rooms.tasks.routes import router

room = Room(
    "tasks",
    ("/v1/execution",),
    router,
    error,
    (
        schemas.CreateTaskBody,
        schemas.CheckpointBody,
        schemas.StateBody,
        schemas.PauseTaskBody,
        schemas.ResumeTaskBody,
        schemas.CompleteBody,
        schemas.FailBody,
        schemas.TaskAnswer,
        schemas.TaskError,
    ),
)
