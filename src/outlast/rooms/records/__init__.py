"""A workspace's execution records: pages, one record, a record with everything under it."""

from outlast.http.room import Room
from outlast.rooms.records.render import error
from outlast.rooms.records.routes import ENDPOINTS
from outlast.rooms.records.schemas import RecordError

room = Room("records", ("/api/v1", "/api/v1/executions"), ENDPOINTS, error, RecordError)
