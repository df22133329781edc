"""A workspace's execution records: pages, one record, a record with all that is under it."""

from outlast.http.room import Room
from outlast.rooms.records import schemas
from outlast.rooms.records.render import error
from outlast.rooms.records.routes import router

room = Room(
    "records",
    ("/api/v1", "/api/v1/executions"),
    router,
    error,
    (schemas.Record, schemas.NestedRecord, schemas.RecordError),
)
