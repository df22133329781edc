"""The console's streams: how soon a reader sees a word, and what fifty readers cost the others.

A word tells when the provider has sent it. It is seen when it stands in the page of a Chromium,
whose clock is this machine's. First tokens are taken in turns with and without viewers.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from bench.client import Connection, ConnectionCut, ask_once
from bench.console_client import Session, chromium_page, session_of
from bench.lab import Lab
from bench.load import first_token
from bench.requests import TOKEN, cancel, execute
from bench.table import Row, absent, percentile
from outlast.agents.browser.settings import find_browser

SEEN_MS, GROWTH = 100.0, 1.1
ROUNDS = 4
BEGUN_SECONDS = 0.3
"""Until streams that begin at once have begun; the figure is about those that go on."""
_SEEN = """
globalThis.seen = [];
new MutationObserver(() => {
  const text = document.getElementById("transcript")?.textContent ?? "";
  const words = text.match(/\\d+\\.\\d{6}/g) ?? [];
  while (globalThis.seen.length < words.length) {
    globalThis.seen.push([Number(words[globalThis.seen.length]), Date.now()]);
  }
}).observe(document, { subtree: true, childList: true, characterData: true });
"""


async def measure(lab: Lab) -> list[Row]:
    """On each database."""
    return [row for kind in lab.kinds for row in await _measure(lab, kind)]


async def _measure(lab: Lab, kind: str) -> list[Row]:
    state = lab.states.empty(kind, "console-live")
    async with lab.ours(state, provider_url=lab.controlled_url) as child:
        session = await session_of(child.port)
        seen = await _seen(session, state.label)
    state_of_load = lab.states.empty(kind, "console-viewers")
    async with lab.ours(state_of_load) as child:
        beside = await _beside(lab, await session_of(child.port), state.label)
    lab.states.drop(state, state_of_load)
    return [seen, beside]


async def _seen(session: Session, database: str) -> Row:
    figure = "console, provider's word to eye, p95"
    if find_browser("") is None:
        return absent(figure, database, "Chromium is not installed")
    async with chromium_page(session, _SEEN) as page:
        await page.goto("/console/executions")
        started = await ask_once(session.port, execute("clock", background=True))
        await page.goto(f"/console/executions/{started.json()['id']}")
        await page.wait_for_selector('#head[data-status="completed"]')
        found = await page.evaluate("globalThis.seen")
    behind = (time.time() - time.monotonic()) * 1000
    took = [at - behind - word * 1000 for word, at in found[3:]]  # what came before the page
    high = percentile(took, 0.95)
    said = f"{high:.0f} ms, median {percentile(took, 0.5):.0f} ms, {len(took)} words"
    target = f"≤ {SEEN_MS:.0f} ms"
    return Row(figure, said, target=target, met=high <= SEEN_MS, database=database)


async def _beside(lab: Lab, session: Session, database: str) -> Row:
    """First tokens in rounds without and with viewers, who all follow streams that go on."""
    connection = await Connection.open(session.port)
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * ROUNDS):
        watched = bool(number % 2)
        async with AsyncExitStack() as stack:
            runs = await asyncio.gather(*(_slow(session.port) for _ in range(lab.scale.viewers)))
            if watched:
                for run in runs:
                    await stack.enter_async_context(_viewer(session, run))
            await asyncio.sleep(BEGUN_SECONDS)
            for _ in range(lab.scale.first_tokens // ROUNDS):
                request = execute("first", stream=True)
                times[watched].append(await first_token(connection, request, TOKEN))
        for run in runs:
            await ask_once(session.port, cancel(run))
    connection.close()
    one, other = (percentile(times[watched], 0.99) * 1000 for watched in (False, True))
    return Row(
        f"first token beside {lab.scale.viewers} streams and as many viewers, p99",
        f"{other:.1f} ms",
        f"without viewers {one:.1f} ms",
        f"{other / one:.2f}×",
        f"≤ {GROWTH}×",
        other <= GROWTH * one,
        database,
    )


async def _slow(port: int) -> str:
    found: str = (await ask_once(port, execute("slow", background=True))).json()["id"]
    return found


@asynccontextmanager
async def _viewer(session: Session, run: str) -> AsyncGenerator[None, None]:
    """A reader of an execution's stream in the console, once something has come."""
    connection = await Connection.open(session.port)
    request = session.get(f"/console/executions/{run}/live")
    begun = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_read(connection, request, begun))
        await begun.wait()
        yield
        connection.close()


async def _read(connection: Connection, request: bytes, begun: asyncio.Event) -> None:
    with suppress(ConnectionCut):
        await connection.ask(request, lambda _: begun.set())
    begun.set()
