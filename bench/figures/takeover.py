"""How long an execution stands still when its worker is killed.

From `kill -9` of a worker to the moment at which a client that follows the execution gets the frame
`retry` of a step that is run again, by another worker that was there already; the settings are the
defaults. Workers are killed one after the other, each with executions of its own: what was running
in two crashes in a row is taken up one at a time.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from bench.client import Connection, ask_once
from bench.controlled_provider import TIME_WORD
from bench.deployment import Deployment, open_deployment
from bench.lab import Lab
from bench.requests import cancel, execute, follow
from bench.state import LABELS, POSTGRESQL, SQLITE
from bench.table import Row, absent, median

FIGURE = "take-over after kill -9 of a worker, median (slowest)"
TARGET_SECONDS = 10.0
BOUND = 60.0
_RETRY = b'"type":"retry"'


async def measure(lab: Lab) -> list[Row]:
    """Of all executions at every death."""
    rows = []
    if SQLITE in lab.kinds:
        why = "SQLite takes one process; see its restart"
        rows.append(absent(FIGURE, LABELS[SQLITE], why))
    if POSTGRESQL in lab.kinds:
        rows.append(_row(await _deaths(lab)))
    return rows


class _Follower:
    """A client of one execution."""

    def __init__(self, execution_id: str) -> None:
        self.execution_id = execution_id
        self.retried = 0.0
        self.speaking = asyncio.Event()
        """Its model request runs."""

    def receive(self, chunk: bytes) -> None:
        if _RETRY in chunk:
            self.retried = time.monotonic()
        if TIME_WORD.search(chunk):
            self.speaking.set()

    async def spoken(self) -> None:
        """Return once its model request runs, and begin to wait for the next."""
        await self.speaking.wait()
        self.speaking.clear()


async def _deaths(lab: Lab) -> list[float]:
    seconds: list[float] = []
    async with open_deployment(lab, "takeover", provider_url=lab.controlled_url) as deployment:
        for _ in range(lab.scale.deaths):
            async with _followed(deployment, lab.scale.held) as followers:
                await deployment.add(workers=1)
                killed = time.monotonic()
                deployment.workers[-2].kill()
                async with asyncio.timeout(BOUND):
                    await asyncio.gather(*(follower.spoken() for follower in followers))
                seconds += [follower.retried - killed for follower in followers]
    return seconds


@asynccontextmanager
async def _followed(deployment: Deployment, count: int) -> AsyncGenerator[list[_Follower], None]:
    """Executions whose models are silent, and their clients; they are cancelled at the end."""
    request = execute("silent", background=True)
    followers = [
        _Follower((await ask_once(deployment.port, request)).json()["id"]) for _ in range(count)
    ]
    connections = [await Connection.open(deployment.port) for _ in followers]
    async with asyncio.TaskGroup() as tasks:
        for follower, connection in zip(followers, connections, strict=True):
            tasks.create_task(connection.ask(follow(follower.execution_id), follower.receive))
        async with asyncio.timeout(BOUND):
            await asyncio.gather(*(follower.spoken() for follower in followers))
        yield followers
        for follower in followers:
            (await ask_once(deployment.port, cancel(follower.execution_id))).json()
    for connection in connections:
        connection.close()


def _row(seconds: list[float]) -> Row:
    slowest = max(seconds)
    return Row(
        FIGURE,
        f"{median(seconds):.1f} s ({slowest:.1f} s)",
        target=f"≤ {TARGET_SECONDS:.0f} s",
        met=slowest <= TARGET_SECONDS,
        database=LABELS[POSTGRESQL],
    )
