"""Schedules that are due in the same minute: when each is fired, and when its execution begins.

Nothing else runs but one client, which reads the list of agents again and again. A run is fired at
the commit that records it: the database is looked at from outside, so a run is seen at most one
look too late. The executions are real ones, and compete with the rest for the processors.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bench.client import Connection, ask_once, get
from bench.lab import SERVER, Lab
from bench.process import Child
from bench.requests import KEY, execute
from bench.state import LABELS, SQLITE, State
from bench.table import Row, percentile

TARGET_SECONDS = 2.0
FEW = 1_000
"""The number that the target is for."""
LOOK_SECONDS = 0.05
BOUND = 240.0
SETTLE_MILLIS = 1_000
"""From the rows to their time, and a millisecond more for each: the servers are at rest by then."""
AT_REST_SAMPLES = 200
_PAGE = get("/v1/agents?limit=20", KEY)
_ENDED = "SELECT count(*) FROM executions WHERE schedule_id IS NOT NULL AND completed_at IS NULL"
_FIRED = "SELECT count(*) FROM schedule_runs"
_ONCE = """
SELECT count(*), count(DISTINCT r.schedule_id), count(DISTINCT r.execution_id), count(e.id)
FROM schedule_runs AS r LEFT JOIN executions AS e
    ON e.id = r.execution_id AND e.schedule_id = r.schedule_id AND e.status = 'completed'
"""
_BEGUN = "SELECT started_at FROM executions WHERE schedule_id IS NOT NULL"
_DEFINITION = (
    '{"cron":"* * * * *","times":[],"timezone":"UTC","input":"Go","metadata":{},"budget":{},'
    '"overlap":"skip","catch_up":"last","catch_up_window":86400,"start_at":null,"end_at":%d,'
    '"jitter_seconds":0,"pause_after_failures":3}'
)
_INSERT = """
INSERT INTO schedules (id, workspace_id, agent_id, source, definition, next_run, next_at,
    last_scheduled, failures, missed, created_at, updated_at)
SELECT '{name}', workspace_id, id, 'api:', '{definition}', {minute}, {due}, 0, 0, 0, {now}, {now}
FROM agents WHERE name = 'answer'
"""


@dataclass(slots=True)
class _Fired:
    """What was seen of the schedules of one run."""

    seen: list[tuple[float, int]] = field(default_factory=list)
    """Seconds behind their time, and how many had been fired by then."""
    begun: list[float] = field(default_factory=list)
    """Seconds from the schedule's time to the start of each execution."""
    beside: list[float] = field(default_factory=list)
    """Seconds of a request meanwhile."""
    at_rest: list[float] = field(default_factory=list)
    """The same before."""
    seconds: float = 0.0
    """Until all executions had ended."""

    def fired(self, share: float) -> float:
        """Return when this share of the schedules had been fired, in seconds behind their time."""
        most = self.seen[-1][1]
        return next(seconds for seconds, count in self.seen if count >= share * most)


async def measure(lab: Lab) -> list[Row]:
    """With each number of schedules and of servers."""
    rows = []
    for kind in lab.kinds:
        for servers in (1,) if kind == SQLITE else lab.scale.due_servers:
            for count in lab.scale.due:
                rows += _rows(kind, servers, count, await _measure(lab, kind, servers, count))
    return rows


async def _measure(lab: Lab, kind: str, servers: int, count: int) -> _Fired:
    async with _servers(lab, kind, servers) as (state, children):
        port = children[-1].port
        await ask_once(port, execute("answer"))
        connection = await Connection.open(port)
        try:
            return await _watched(state, count, connection)
        finally:
            connection.close()


@asynccontextmanager
async def _servers(
    lab: Lab, kind: str, servers: int
) -> AsyncGenerator[tuple[State, list[Child]], None]:
    state = lab.states.empty(kind, "due")
    children: list[Child] = []
    try:
        for number in range(servers):
            children.append(lab.start(state, SERVER, f"server-{number}"))
            await children[-1].ready("/readyz")
        yield state, children
    finally:
        await asyncio.gather(*(child.stop() for child in children))
    lab.states.drop(state)


async def _watched(state: State, count: int, connection: Connection) -> _Fired:
    found = _Fired(at_rest=[await _page(connection) for _ in range(AT_REST_SAMPLES)])
    due = _insert(state, count)
    async with asyncio.timeout(BOUND), asyncio.TaskGroup() as tasks:
        beside = tasks.create_task(_beside(connection, due, found.beside))
        while not found.seen or found.seen[-1][1] < count:
            (fired,) = (await asyncio.to_thread(state.rows, _FIRED))[0]
            if fired:
                found.seen.append((time.time() - due / 1000, int(fired)))
            await asyncio.sleep(LOOK_SECONDS)
        while (await asyncio.to_thread(state.rows, _ENDED))[0][0]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(LOOK_SECONDS)
        found.seconds = time.time() - due / 1000
        beside.cancel()
    if (once := state.rows(_ONCE)[0]) != (count,) * 4:
        raise RuntimeError(f"Not each of {count} ran once: {once}")
    found.begun = [(started - due) / 1000 for (started,) in state.rows(_BEGUN)]
    return found


def _insert(state: State, count: int) -> int:
    """Insert schedules whose only time is this minute; return when they are due."""
    now = int(time.time() * 1000)
    due, minute = now + SETTLE_MILLIS + count, now // 60_000 * 60_000
    shape = {"definition": _DEFINITION % minute, "minute": minute, "due": due, "now": now}
    state.many(_INSERT.format(name=f"sch_{one:026}", **shape) for one in range(count))
    return due


async def _beside(connection: Connection, due: int, times: list[float]) -> None:
    await asyncio.sleep(due / 1000 - time.time())
    while True:
        times.append(await _page(connection))


async def _page(connection: Connection) -> float:
    began = time.perf_counter()
    (await connection.ask(_PAGE)).json()
    return time.perf_counter() - began


def _rows(kind: str, servers: int, count: int, found: _Fired) -> list[Row]:
    name = f"{count:,} schedules due at once, {servers} server{'s' * (servers > 1)}"
    last, few = found.fired(1.0), count <= FEW
    rest, beside = (percentile(times, 0.99) * 1000 for times in (found.at_rest, found.beside))
    return [
        Row(
            f"{name}: fired behind their time, median (last)",
            f"{found.fired(0.5):.1f} s ({last:.1f} s)",
            target=f"last ≤ {TARGET_SECONDS:.0f} s" if few else "–",
            met=last <= TARGET_SECONDS if few else None,
            database=LABELS[kind],
        ),
        Row(
            f"{name}: their executions began, median (last); all ended",
            f"{percentile(found.begun, 0.5):.1f} s ({max(found.begun):.1f} s); "
            f"{found.seconds:.1f} s",
            database=LABELS[kind],
        ),
        Row(
            f"{name}: a list of agents meanwhile, p99",
            f"{beside:.1f} ms",
            f"at rest {rest:.1f} ms",
            database=LABELS[kind],
        ),
    ]
