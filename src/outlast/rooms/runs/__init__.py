"""Durable streamed runs: three stream formats, tool approvals, reconnect by index."""

from outlast.http.room import Room
from outlast.rooms.runs import schemas
from outlast.rooms.runs.render import error
from outlast.rooms.runs.routes import router

room = Room(
    "runs",
    ("/run/api", "/run"),
    router,
    error,
    (
        schemas.RunBody,
        schemas.ApprovalBody,
        schemas.Run,
        schemas.Decided,
        schemas.RunError,
    ),
)
