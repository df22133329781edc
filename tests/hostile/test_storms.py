"""Storms: many runs and many cut streams leave a server as small as it was."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Final

import pytest

from tests.support.long_cases import WHOLE
from tests.support.processes import ServerProcess
from tests.support.stress import Probe, open_files, resident_mib, server_and_provider
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio
RUNS: Final = 20_000 if WHOLE else 400
CUTS: Final = 5_000 if WHOLE else 200
AT_ONCE: Final = 50
STILL: Final = 5.0
"""Seconds for which no request may be answered: far above a busy machine, far below a hang."""
GROWTH_MIB: Final = 40.0
"""Allocator and caches; a leak of 10 KiB a run would be five times that in the whole storm."""


async def each(count: int, work: object) -> None:
    """Do something `count` times, at most `AT_ONCE` at the same time."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)  # type: ignore[operator]

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())


async def quiet(server: ServerProcess, files: int) -> None:
    """Return once the server holds no more files than before, give or take its pools."""

    async def as_before() -> bool:
        return open_files(server.pid) <= files + 20

    await until_found(as_before)


async def test_a_storm_of_runs_leaves_no_memory_and_no_file_behind(tmp_path: Path) -> None:
    async with server_and_provider(tmp_path, OUTLAST_LOG_LEVEL="warning") as (server, _):

        async def run(number: int) -> None:
            answer = await server.http.post(
                "/v1/agents/words/execute", json={"input": f"run {number}"}
            )
            assert answer.json()["status"] == "completed", answer.text

        await each(200, run)
        before, files = resident_mib(server.pid), open_files(server.pid)
        async with Probe(server) as probe:
            await each(RUNS, run)
        assert probe.longest < STILL
        await quiet(server, files + AT_ONCE)
        assert resident_mib(server.pid) - before < GROWTH_MIB


async def test_a_storm_of_cut_streams_leaves_nothing_behind_and_every_run_ends(
    tmp_path: Path,
) -> None:
    async with server_and_provider(tmp_path, OUTLAST_LOG_LEVEL="warning") as (server, _):
        ids: list[str] = []

        async def cut(number: int) -> None:
            one = await server.background("slow" if number % 4 == 0 else "words", f"run {number}")
            ids.append(one)
            async with aclosing(server.stream(one)) as frames:
                async for _ in frames:
                    break

        await each(50, cut)
        before, files = resident_mib(server.pid), open_files(server.pid)
        async with Probe(server) as probe:
            await each(CUTS, cut)
        assert probe.longest < STILL

        async def ended() -> bool:
            text = (await server.http.get("/metrics")).text
            running = next(
                line for line in text.splitlines() if line.startswith("outlast_segments_running ")
            )
            return float(running.split()[1]) == 0

        await until_found(ended)
        assert resident_mib(server.pid) - before < GROWTH_MIB
        await quiet(server, files + AT_ONCE)
        for one in ids[:: max(1, len(ids) // 50)]:
            assert (await server.execution(one))["status"] == "completed"
