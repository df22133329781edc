"""Memory stores of a schedule's run: its own, or those that the agent names."""

import orjson

from outlast.model.error import MemoryArchived, MemoryStoreNotFound
from outlast.model.memory import MemoryAccess, NamedStore
from outlast.model.schedule import Schedule
from outlast.store.driver import Part, Query
from outlast.store.memory.rows import MEMORY_STORE, store_from
from outlast.store.memory.store import stores_named

_NAMED = "memory_stores"


def memory_of_run(schedule: Schedule, spec: str) -> Part[tuple[MemoryAccess, ...]]:
    """Return what a request that names the schedule's stores, or none, would get now.

    `spec` is that of the agent's newest version, as stored. Raises MemoryStoreNotFound,
    MemoryArchived.
    """
    given = schedule.definition.memory_stores
    if given is None:
        return (yield from stores_named(schedule.workspace_id, _named(spec)))
    for one in given:
        of = {"workspace": schedule.workspace_id, "store": one.id}
        rows = yield Query(MEMORY_STORE, of)
        if not rows:
            raise MemoryStoreNotFound(f"There is no memory store {one.id}.")
        if store_from(rows[0]).archived_at is not None:
            raise MemoryArchived(f"The memory store {one.id} is archived.")
    return given


def _named(spec: str) -> tuple[NamedStore, ...]:
    if _NAMED not in spec:
        return ()
    return tuple(NamedStore(**one) for one in orjson.loads(spec).get(_NAMED, ()))
