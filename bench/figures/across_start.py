"""From an execution's creation to its start.

Commit to start: from the commit that made the execution and its job to the commit of the worker's
`execution.started`, both by Postgres' own record of commits (`track_commit_timestamp`), which notes
a commit's time before it waits for the disk: that wait of the first commit is within it. Request to
provider: from the moment at which a client sends its request, answered with 202, to the moment at
which the provider has read the model request. One execution at a time, a pause between.
"""

import asyncio
import time

from bench.client import Connection
from bench.controlled_provider import TIME_WORD
from bench.handover import HandOver
from bench.lab import Lab
from bench.latency import DIRECT, latencies, no_latencies
from bench.requests import ask_provider, execute, follow
from bench.table import Row
from bench.ways import Way

TARGET_MS = 15.0
WARM_UP = 10
PAUSE = 0.02
_TIMES = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(started.xmin)
    - pg_xact_commit_timestamp(created.xmin))::float8
FROM events created JOIN events started USING (execution_id)
WHERE created.kind = 'execution.created' AND started.kind = 'execution.started'
    AND execution_id = ANY(%s)
"""


async def starts(lab: Lab, way: Way, bare: HandOver | None) -> list[Row]:
    """Median and 99th percentile of both."""
    ids, reached = await _samples(way, lab.scale.hand_overs)
    direct = await _direct(lab, lab.scale.hand_overs)
    return [
        *_committed(way, ids, bare),
        *latencies("request to provider", way.state.label, reached, (DIRECT, direct)),
    ]


async def _samples(way: Way, count: int) -> tuple[list[str], list[float]]:
    """The executions, and seconds from their requests to the provider's request."""
    ids: list[str] = []
    seconds: list[float] = []
    here, there = await Connection.open(way.here), await Connection.open(way.there)
    for _ in range(WARM_UP + count):
        sent = time.monotonic()
        made = (await here.ask(execute("moment", background=True))).json()["id"]
        seconds.append(_time_in((await there.ask(follow(made))).body) - sent)
        ids.append(made)
        await asyncio.sleep(PAUSE)
    here.close()
    there.close()
    return ids[WARM_UP:], seconds[WARM_UP:]


async def _direct(lab: Lab, count: int) -> list[float]:
    seconds: list[float] = []
    connection = await Connection.open(lab.controlled.port)
    for _ in range(WARM_UP + count):
        sent = time.monotonic()
        seconds.append(_time_in((await connection.ask(ask_provider("clock-1"))).body) - sent)
    connection.close()
    return seconds[WARM_UP:]


def _time_in(body: bytes) -> float:
    """The time that the answer tells. Raises RuntimeError where it tells none."""
    found = TIME_WORD.search(body)
    if found is None:
        raise RuntimeError(f"No time in {body[-300:]!r}")
    return float(found[1])


def _committed(way: Way, ids: list[str], bare: HandOver | None) -> list[Row]:
    figure, database = "commit to start", way.state.label
    if bare is None:
        return no_latencies(figure, database, way.untimed)
    seconds = [float(found) for (found,) in way.state.rows(_TIMES, ids)]
    if len(seconds) != len(ids):
        raise RuntimeError(f"{len(seconds)} of {len(ids)} executions have both commits.")
    return latencies(figure, database, seconds, ("bare hand-over", bare.taken), TARGET_MS)
