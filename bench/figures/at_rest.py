"""What workers cost that do nothing: statements on the database, and connections.

One of them leads maintenance for all; what each further one adds is that of a process that neither
leads nor runs anything. Statements are counted by Postgres as transactions (`pg_stat_database`): at
rest each statement is one, but for the leader's renewal of its lease. Our own look is not in it.
"""

import asyncio
import time
from dataclasses import dataclass

from bench.deployment import Deployment, open_deployment
from bench.lab import Lab
from bench.state import LABELS, POSTGRESQL, SQLITE, State
from bench.table import Row, absent

TARGET = 2.0
STATS_SECONDS = 10.0
"""Postgres tells of a session's transactions at the latest so long after them."""
_COUNTS = """
SELECT xact_commit + xact_rollback, (
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name <> 'bench'
)
FROM pg_stat_database WHERE datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class Rest:
    """So many workers at rest."""

    workers: int
    per_second: float
    connections: int


async def measure(lab: Lab) -> list[Row]:
    """With each number of workers."""
    rows = []
    if SQLITE in lab.kinds:
        why = "SQLite takes one process"
        rows += [absent(_name(count), LABELS[SQLITE], why) for count in lab.scale.resting]
    if POSTGRESQL in lab.kinds:
        found = await _measure(lab)
        rows += [_row(rest, found[0]) for rest in found]
    return rows


async def _measure(lab: Lab) -> list[Rest]:
    found = []
    async with open_deployment(lab, "at-rest", apis=0, workers=0) as deployment:
        for count in lab.scale.resting:
            await _start(deployment, count)
            await asyncio.sleep(lab.scale.settle + _late(lab))
            found.append(await _look(lab, deployment.state, count))
    return found


async def _start(deployment: Deployment, count: int) -> None:
    """A few at a time, as a deployment does."""
    while (missing := count - len(deployment.workers)) > 0:
        await deployment.add(workers=min(missing, 5))


async def _look(lab: Lab, state: State, workers: int) -> Rest:
    """Count for a while; both ends of it are a look of ours."""
    seconds = max(lab.scale.idle_seconds, 2 * _late(lab))
    began = time.monotonic()
    before = _counts(state)[0]
    await asyncio.sleep(seconds)
    after, connections = _counts(state)
    return Rest(workers, (after - before - 1) / (time.monotonic() - began), connections)


def _late(lab: Lab) -> float:
    """Return how late Postgres tells of what a start has sent; a short look does without."""
    return STATS_SECONDS if lab.scale.idle_seconds > 1 else 0.0


def _counts(state: State) -> tuple[int, int]:
    ((transactions, connections),) = state.rows(_COUNTS)
    return int(transactions), int(connections) - 1  # ours


def _name(workers: int) -> str:
    return f"{workers} {'worker' if workers == 1 else 'workers'} at rest, statements/s"


def _row(rest: Rest, alone: Rest) -> Row:
    others = rest.workers - alone.workers
    ours = f"{rest.per_second:.1f}, {rest.connections} connections"
    if not others:
        return Row(_name(rest.workers), ours, database=LABELS[POSTGRESQL])
    each = (rest.per_second - alone.per_second) / others
    return Row(
        _name(rest.workers),
        ours,
        f"{alone.workers} worker {alone.per_second:.1f}; each further one {each:.2f}",
        target=f"each further one ≤ {TARGET:.0f}",
        met=each <= TARGET,
        database=LABELS[POSTGRESQL],
    )
