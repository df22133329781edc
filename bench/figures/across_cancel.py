"""From the request to cancel to its effect, while the model is silent.

One execution after the other, cancelled through one API process: when the provider's socket is
closed, and when a client of another API process has received the end.
"""

import asyncio
import time

from bench.client import Connection, ask_once, get
from bench.controlled_provider import TIME_WORD
from bench.lab import Lab
from bench.requests import cancel, execute, follow
from bench.table import Row, median
from bench.ways import Way

TARGET_SECONDS = 1.0
BOUND = 30.0
LOOK_SECONDS = 0.01
_END = b'"type":"done"'


class _Client:
    """Notes when it first got text of the model, and when the end."""

    def __init__(self) -> None:
        self.noticed_at = 0.0
        self.speaking = asyncio.Event()

    def receive(self, chunk: bytes) -> None:
        if _END in chunk:
            self.noticed_at = time.monotonic()
        elif TIME_WORD.search(chunk):
            self.speaking.set()


async def cancels(lab: Lab, way: Way) -> list[Row]:
    """Median and slowest."""
    closed: list[float] = []
    noticed: list[float] = []
    async with asyncio.timeout(BOUND + lab.scale.cancels):
        for number in range(lab.scale.cancels):
            text = f"Silence {way.state.kind} {number}"
            requested, received = await _cancel(way, text)
            closed.append(await _cut(lab, text) - requested)
            noticed.append(received - requested)
    return [
        _row("cancel to the model's socket closed", way, closed),
        _row("cancel to the other client's last frame", way, noticed),
    ]


async def _cancel(way: Way, text: str) -> tuple[float, float]:
    """Times of the request to cancel and of the last frame at the other client."""
    client = _Client()
    here, there = await Connection.open(way.here), await Connection.open(way.there)
    made = (await here.ask(execute("silent", text, background=True))).json()["id"]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(there.ask(follow(made), client.receive))
        await client.speaking.wait()
        requested = time.monotonic()
        (await here.ask(cancel(made))).json()
    here.close()
    there.close()
    return requested, client.noticed_at


async def _cut(lab: Lab, text: str) -> float:
    """When the provider lost the connection of this request."""
    while True:
        cuts = (await ask_once(lab.controlled.port, get("/counts"))).json()["cuts"]
        if text in cuts:
            return float(cuts[text])
        await asyncio.sleep(LOOK_SECONDS)


def _row(figure: str, way: Way, seconds: list[float]) -> Row:
    slowest = max(seconds)
    return Row(
        f"{figure}, median (slowest)",
        f"{median(seconds) * 1000:.0f} ms ({slowest * 1000:.0f} ms)",
        target=f"≤ {TARGET_SECONDS:.0f} s",
        met=slowest <= TARGET_SECONDS,
        database=way.state.label,
    )
