"""Memory stores of schedules' runs: their own, or those that the agents name."""

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from outlast.model.error import MemoryArchived, MemoryStoreNotFound
from outlast.model.memory import MemoryAccess, NamedStore
from outlast.model.schedule import RunError, Schedule
from outlast.store.driver import Part, Query, Row
from outlast.store.memory.rows import MEMORY_STORE, store_from
from outlast.store.memory.store import stores_named

_NAMED: Final = "memory_stores"

Stores = tuple[MemoryAccess, ...] | RunError


def memory_of_runs(
    due: Sequence[Schedule], agents: Mapping[tuple[str, str], Row]
) -> Part[list[Stores]]:
    """Return for each schedule what a request that names its stores, or none, would get now.

    `agents`: rows by id and workspace, each with the definition as its last value.
    """
    known: dict[tuple[str, str, tuple[MemoryAccess, ...] | None], Stores] = {}
    found: list[Stores] = []
    for one in due:
        agent = agents.get((one.agent_id, one.workspace_id))
        key = (one.workspace_id, one.agent_id, one.definition.memory_stores)
        if key not in known:
            known[key] = () if agent is None else (yield from _stores_of(one, agent[-1]))
        found.append(known[key])
    return found


def _stores_of(schedule: Schedule, spec: str) -> Part[Stores]:
    given = schedule.definition.memory_stores
    if given is None:
        return (yield from stores_named(schedule.workspace_id, _named(spec)))
    for one in given:
        of = {"workspace": schedule.workspace_id, "store": one.id}
        rows = yield Query(MEMORY_STORE, of)
        if not rows:
            message = f"There is no memory store {one.id}."
            return RunError(MemoryStoreNotFound.code, message)
        if store_from(rows[0]).archived_at is not None:
            return RunError(MemoryArchived.code, f"The memory store {one.id} is archived.")
    return given


def _named(spec: str) -> tuple[NamedStore, ...]:
    if _NAMED not in spec:
        return ()
    return tuple(NamedStore(**one) for one in orjson.loads(spec).get(_NAMED, ()))
