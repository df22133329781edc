"""A workspace's execution records: pages, one record, a record with everything under it."""

from outlast.http.room import Room, Surface


def _surface() -> Surface:
    from outlast.rooms.records.render import error
    from outlast.rooms.records.routes import ENDPOINTS
    from outlast.rooms.records.schemas import RecordError

    return Surface(ENDPOINTS, error, RecordError)


room = Room("records", ("/api/v1", "/api/v1/executions"), _surface)
