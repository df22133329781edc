"""Durable streamed runs: three stream formats, tool approvals, reconnection by index."""

from outlast.http.room import Room
from outlast.rooms.runs.render import error
from outlast.rooms.runs.routes import ENDPOINTS
from outlast.rooms.runs.schemas import RunError

room = Room("runs", ("/run/api", "/run"), ENDPOINTS, error, RunError)
