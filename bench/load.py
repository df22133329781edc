"""Shapes of load: a number of runs at a concurrency, and a number of streams at once."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from bench.client import Answer, Connection
from bench.table import median

CONNECT_AT_ONCE = 100


class Served(Protocol):
    """Whoever answers on a port, in one process or several."""

    @property
    def port(self) -> int: ...

    def cpu_seconds(self) -> float:
        """Processor time so far."""

    def memory(self) -> int:
        """Bytes now."""


Cpu = Callable[[], float]
"""Reads the processor time so far of what works beside the server; `float` where nothing does."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast runs went, and what one cost the server."""

    per_second: float
    cpu_ms: float
    database_ms: float = 0.0
    """The database's own processes'; 0 where there are none, or none to be seen."""


async def run_many(
    child: Served,
    request: bytes,
    check: Callable[[Answer], bool],
    *,
    runs: int,
    concurrency: int,
    bound: float,
    database: Cpu = float,
) -> Rate:
    """So many runs, so many at a time, each on a kept-alive connection; every answer is checked.

    Raises RuntimeError when an answer is not what it should be, TimeoutError after `bound` seconds.
    """
    connections = [await Connection.open(child.port) for _ in range(concurrency)]
    left = iter(range(runs))

    async def work(connection: Connection) -> None:
        for _ in left:
            answer = await connection.ask(request)
            if not check(answer):
                raise RuntimeError(f"HTTP {answer.status}: {answer.body[:300]!r}")

    try:
        async with asyncio.timeout(bound):
            cpu, beside, start = child.cpu_seconds(), database(), time.perf_counter()
            await _all([work(connection) for connection in connections])
            seconds, cpu = time.perf_counter() - start, child.cpu_seconds() - cpu
            beside = database() - beside
    finally:
        for connection in connections:
            connection.close()
    return Rate(runs / seconds, cpu * 1000 / runs, beside * 1000 / runs)


def middle(rates: Sequence[Rate]) -> Rate:
    """The median of each number."""
    return Rate(
        median([rate.per_second for rate in rates]),
        median([rate.cpu_ms for rate in rates]),
        median([rate.database_ms for rate in rates]),
    )


@dataclass(slots=True)
class Arrivals:
    """When the tokens of one stream came, in seconds since the request was sent."""

    mark: bytes
    sent: float = 0.0
    times: list[float] = field(default_factory=list)
    refused: bool = False
    """The server was overloaded, and said so (503)."""

    def receive(self, chunk: bytes) -> None:
        """Count the tokens in a chunk."""
        if found := chunk.count(self.mark):
            self.times.extend([time.perf_counter() - self.sent] * found)


@dataclass(frozen=True, slots=True)
class Burst:
    """What so many streams at once did."""

    seconds: float
    gaps: list[float]
    """Seconds between one token and the next, of all streams."""
    memory: int
    """Bytes that the server grew by at its peak, for all streams together."""
    cpu_seconds: float
    database_seconds: float
    """The database's own processor time."""
    served: int
    """Streams that the server did not refuse."""
    refused: int
    short: int
    """Streams that brought another number of tokens than they should, and were not refused."""


async def stream_many(
    child: Served,
    request: bytes,
    mark: bytes,
    *,
    streams: int,
    words: int,
    bound: float,
    database: Cpu = float,
) -> Burst:
    """Open so many streams in one moment and read them all to their ends.

    Raises ConnectionCut, TimeoutError after `bound` seconds, RuntimeError when all are refused.
    """
    connections = await _connect(child.port, streams)
    arrivals = [Arrivals(mark) for _ in connections]
    memory, cpu, beside = child.memory(), child.cpu_seconds(), database()
    peak = _Peak(child)
    try:
        async with asyncio.timeout(bound), asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(peak.watch())
            start = time.perf_counter()
            await _all(
                [
                    _read(connection, request, arrival)
                    for connection, arrival in zip(connections, arrivals, strict=True)
                ]
            )
            seconds = time.perf_counter() - start
            watching.cancel()
    finally:
        for connection in connections:
            connection.close()
    refused = sum(one.refused for one in arrivals)
    if refused == streams:
        raise RuntimeError("Every stream was refused.")
    return Burst(
        seconds,
        [late - early for one in arrivals for early, late in pairwise(one.times)],
        max(0, peak.bytes - memory),
        child.cpu_seconds() - cpu,
        database() - beside,
        streams - refused,
        refused,
        sum(len(one.times) != words and not one.refused for one in arrivals),
    )


async def first_token(connection: Connection, request: bytes, mark: bytes) -> float:
    """Seconds from the request to the first token of one stream; the rest is read and dropped.

    Raises RuntimeError for a stream without a token.
    """
    arrivals = Arrivals(mark)
    await _read(connection, request, arrivals)
    if not arrivals.times:
        raise RuntimeError("The stream brought no token.")
    return arrivals.times[0]


async def _read(connection: Connection, request: bytes, arrivals: Arrivals) -> None:
    arrivals.sent = time.perf_counter()
    answer = await connection.ask(request, arrivals.receive)
    arrivals.refused = answer.status == 503
    if answer.status not in {200, 503}:
        raise RuntimeError(f"HTTP {answer.status}: {answer.body[:300]!r}")


async def _connect(port: int, count: int) -> list[Connection]:
    connections: list[Connection] = []
    while len(connections) < count:
        batch = min(CONNECT_AT_ONCE, count - len(connections))
        connections += await asyncio.gather(*(Connection.open(port) for _ in range(batch)))
    return connections


async def _all(works: list[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for work in works:
            tasks.create_task(work)


class _Peak:
    """The most memory that a process tree was seen to use."""

    def __init__(self, child: Served) -> None:
        self._child = child
        self.bytes = 0

    async def watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, self._child.memory())
            await asyncio.sleep(0.25)
