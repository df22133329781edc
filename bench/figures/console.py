"""The console's pages: the list in front of many executions, and an execution of many steps.

Times are those of whole requests over loopback, one at a time, on a connection that is kept. How
soon the timeline is drawn is Chromium's: from the last byte of its columns to the canvas.
"""

import gzip
import time
from dataclasses import dataclass
from urllib.parse import quote

from bench.client import Connection, ask_once
from bench.console_client import Session, drawn, session_of
from bench.figures.lists import PAGE, WARM_UP
from bench.fill_rows import fill_rows, fill_steps
from bench.lab import Lab
from bench.process import Child
from bench.requests import execute
from bench.table import Row, absent, median, percentile
from outlast.agents.browser.settings import find_browser

LIST_P50, LIST_P99, LIST_KIB = 5.0, 15.0, 12.0
PAGE_KIB, COLUMNS_KIB, DRAWN_MS = 120.0, 150.0, 100.0
_KIB = 1024
_LISTS = {
    "list": "",
    "list, one status that few have": "status:cancelled",
    "list, two statuses that none has": "status:running,queued",
    "list, of 24 hours": "since:24h",
    "list, that no other has called": "parent:none",
    "list, agent and status": "agent:answer status:cancelled",
}


async def measure(lab: Lab) -> list[Row]:
    """On each database."""
    return [row for kind in lab.kinds for row in await _measure(lab, kind)]


async def _measure(lab: Lab, kind: str) -> list[Row]:
    state = lab.states.empty(kind, "console")
    async with lab.ours(state) as child:
        original = (await ask_once(child.port, execute("answer"))).json()["id"]
    async with lab.ours(state, provider_url=lab.controlled_url) as child:
        long = (await ask_once(child.port, execute("short"))).json()["id"]
    fill_rows(state, original, lab.scale.console_rows)
    fill_steps(state, long, lab.scale.console_steps)
    async with lab.ours(state) as child:
        reader = Reader(child, await session_of(child.port))
        rows = [await _list(lab, reader, name, q, state.label) for name, q in _LISTS.items()]
        rows.append(await _hours(lab, reader, state.label))
        rows += await _execution(lab, reader, long, state.label)
    lab.states.drop(state)
    return rows


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader who is signed in to a server."""

    child: Child
    session: Session


@dataclass(frozen=True, slots=True)
class Times:
    """Of requests of one page."""

    millis: list[float]
    cpu: float
    """Milliseconds of the server's processor time, of each."""
    body: bytes

    def __str__(self) -> str:
        high = percentile(self.millis, 0.99)
        return f"p50 {median(self.millis):.1f} ms, p99 {high:.1f} ms, CPU {self.cpu:.1f} ms"

    @property
    def kib(self) -> float:
        """Size of an answer, compressed."""
        return len(gzip.compress(self.body)) / _KIB


async def _times(reader: Reader, path: str, count: int, warm_up: int = WARM_UP) -> Times:
    """Ask for a page so often, one request at a time."""
    connection = await Connection.open(reader.session.port)
    millis, body, cpu = [], b"", 0.0
    for number in range(warm_up + count):
        if number == warm_up:
            cpu = reader.child.cpu_seconds()
        start = time.perf_counter()
        answer = await connection.ask(reader.session.get(path))
        millis.append((time.perf_counter() - start) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        body = answer.body
    cpu = reader.child.cpu_seconds() - cpu
    connection.close()
    return Times(millis[warm_up:], cpu * 1000 / count, body)


async def _list(lab: Lab, reader: Reader, name: str, q: str, database: str) -> Row:
    path = "/console/executions" + (f"?q={quote(q)}" if q else "")
    times = await _times(reader, path, lab.scale.pages)
    middle, high = median(times.millis), percentile(times.millis, 0.99)
    return Row(
        f"console, {name}, {PAGE} of {lab.scale.console_rows:,} executions",
        f"{times}, {times.kib:.1f} KiB gzip",
        target=f"≤ {LIST_P50:.0f} ms, ≤ {LIST_P99:.0f} ms, ≤ {LIST_KIB:.0f} KiB",
        met=middle <= LIST_P50 and high <= LIST_P99 and times.kib <= LIST_KIB,
        database=database,
    )


async def _hours(lab: Lab, reader: Reader, database: str) -> Row:
    times = await _times(reader, "/console/news/histogram", lab.scale.pages)
    figure = f"console, bars of 24 hours, {lab.scale.console_rows:,} executions"
    return Row(figure, str(times), database=database)


async def _execution(lab: Lab, reader: Reader, run: str, database: str) -> list[Row]:
    steps, here = lab.scale.console_steps, f"/console/executions/{run}"
    count = max(3, lab.scale.pages // 20)
    rows = []
    for name, path, most_kib in (
        ("execution", here, PAGE_KIB),
        ("timeline, table", f"{here}/timeline", PAGE_KIB),
        ("timeline, first columns", f"{here}/timeline/columns", COLUMNS_KIB),
    ):
        times = await _times(reader, path, count, warm_up=2)
        rows.append(
            Row(
                f"console, {name}, {steps:,} steps",
                f"{times}, {times.kib:.0f} KiB gzip",
                target=f"≤ {most_kib:.0f} KiB",
                met=times.kib <= most_kib,
                database=database,
            )
        )
    figure = f"console, timeline, {steps:,} steps, first draw"
    if find_browser("") is None:
        return [*rows, absent(figure, database, "Chromium is not installed")]
    found = await drawn(reader.session, f"{here}/timeline")
    return [
        *rows,
        Row(
            figure,
            f"{found:.0f} ms",
            target=f"≤ {DRAWN_MS:.0f} ms",
            met=found <= DRAWN_MS,
            database=database,
        ),
    ]
