"""From the sending of a word to its receipt by a client.

Commit to client: from the commit of the worker that logged the word, by Postgres' own record of
commits, to the moment at which a client of another API process has it. Provider to client: from the
moment at which the provider writes the word, which the word itself tells. Some streams at the same
time, a word each 100 ms.
"""

import asyncio
import re
import time
from dataclasses import dataclass, field

import psycopg

from bench.client import Connection
from bench.controlled_provider import TIME_WORD
from bench.handover import HandOver
from bench.lab import Lab
from bench.latency import DIRECT, latencies, no_latencies
from bench.requests import ask_provider, execute, follow
from bench.table import Row
from bench.ways import Way

TARGET_MS = 150.0
BOUND = 60.0
LOOK_SECONDS = 0.2
_FRAME = re.compile(rb'id: \d+-(\d+)\ndata: {"type":"text_delta","text":"(\d+\.\d{6}) "}')
_TIMES = """
SELECT execution_id, seq, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8
FROM events WHERE kind = 'text.added' AND execution_id = ANY(%s)
"""

Commits = dict[tuple[str, int], float]
"""When the row of an execution's log with this number was committed, in seconds since the epoch."""


@dataclass(slots=True)
class Listener:
    """One client, which notes the frames that it gets."""

    execution_id: str
    sent: float = 0.0
    """When it requested the stream."""
    received: list[tuple[int, float, float]] = field(default_factory=list)
    """(number in the log, seconds since it was sent, time since the epoch)"""

    async def listen(self, port: int) -> None:
        """Follow the execution to its end."""
        connection = await Connection.open(port)
        self.sent = time.monotonic()
        await connection.ask(follow(self.execution_id), self.receive)
        connection.close()

    def receive(self, chunk: bytes) -> None:
        """Note the words of frames since its request: what came before is replayed."""
        now, at = time.monotonic(), time.time()
        for number, sent_at in _FRAME.findall(chunk):
            if float(sent_at) > self.sent:
                self.received.append((int(number), now - float(sent_at), at))


async def texts(lab: Lab, way: Way, bare: HandOver | None) -> list[Row]:
    """Median and 99th percentile of both."""
    direct = await _direct(lab)
    listeners, commits = await _listen(lab, way)
    passed = [seconds for listener in listeners for _, seconds, _ in listener.received]
    return [
        *_committed(way, listeners, commits, bare),
        *latencies("text, provider to client", way.state.label, passed, (DIRECT, direct)),
    ]


async def _direct(lab: Lab) -> list[float]:
    seconds: list[float] = []

    def receive(chunk: bytes) -> None:
        now = time.monotonic()
        seconds.extend(now - float(sent_at) for sent_at in TIME_WORD.findall(chunk))

    connection = await Connection.open(lab.controlled.port)
    await connection.ask(ask_provider(f"clock-{lab.scale.words}-delay-100"), receive)
    connection.close()
    return seconds


async def _listen(lab: Lab, way: Way) -> tuple[list[Listener], Commits]:
    """Start executions here and listen to them there, to their ends."""
    connection = await Connection.open(way.here)
    request = execute("clock", background=True)
    listeners = [
        Listener((await connection.ask(request)).json()["id"]) for _ in range(lab.scale.talks)
    ]
    connection.close()
    commits: Commits = {}
    async with asyncio.timeout(BOUND), asyncio.TaskGroup() as tasks:
        watching = None if way.untimed else tasks.create_task(_watch(way, listeners, commits))
        await asyncio.gather(*(listener.listen(way.there) for listener in listeners))
        if watching is not None:
            watching.cancel()
    return listeners, commits


async def _watch(way: Way, listeners: list[Listener], commits: Commits) -> None:
    """Look again and again when rows were committed: a step's end makes one of all its rows."""
    ids = [listener.execution_id for listener in listeners]
    async with await psycopg.AsyncConnection.connect(way.state.url, autocommit=True) as connection:
        while True:
            found = await (await connection.execute(_TIMES, (ids,))).fetchall()
            for execution_id, number, at in found:
                commits.setdefault((execution_id, number), at)
            await asyncio.sleep(LOOK_SECONDS)


def _committed(
    way: Way, listeners: list[Listener], commits: Commits, bare: HandOver | None
) -> list[Row]:
    figure, database = "text, commit to another API process's client", way.state.label
    if bare is None:
        return no_latencies(figure, database, way.untimed)
    seconds = [
        at - commits[listener.execution_id, number]
        for listener in listeners
        for number, _, at in listener.received[:-1]  # the last one's row is the step's, all in one
        if (listener.execution_id, number) in commits
    ]
    return latencies(figure, database, seconds, ("bare NOTIFY", bare.received), TARGET_MS)
