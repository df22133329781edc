"""Disks that fill up and disks that fail under a running server: 503 meanwhile, all of it after."""

import asyncio
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.support.processes import ServerProcess
from tests.support.stress import server_and_provider
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio
QUICK: Final = 20.0
"""Seconds in which a server under attack must have answered something."""


async def start(server: ServerProcess, text: str) -> httpx2.Response:
    body = {"input": text, "background": True}
    return await server.http.post("/v1/agents/words/execute", json=body, timeout=QUICK)


async def ready(server: ServerProcess) -> bool:
    return (await server.http.get("/readyz", timeout=QUICK)).status_code == 200


async def all_ended(server: ServerProcess, ids: list[str]) -> bool:
    found = [await server.execution(one) for one in ids]
    return all(one["status"] == "completed" for one in found)


async def test_a_full_disk_refuses_loses_nothing_and_recovers_by_itself(
    small_disk: Path, tmp_path: Path
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 6_000_000)
    async with server_and_provider(tmp_path, OUTLAST_DATA_DIR=str(small_disk / "data")) as (
        server,
        _,
    ):
        accepted: list[str] = []
        for size in (500_000, 20_000, 100):
            while (answer := await start(server, "x" * size)).status_code == 202:
                accepted.append(answer.json()["id"])
            assert answer.status_code == 503, answer.text
        assert accepted

        async def not_ready() -> bool:
            return not await ready(server)

        await until_found(not_ready)
        deleted = accepted.pop()
        answer = await server.http.delete(f"/v1/executions/{deleted}", timeout=QUICK)
        assert answer.status_code in (204, 503), answer.text
        again = await start(server, "x" * 2_000_000)
        assert again.status_code == 503, again.text

        ballast.unlink()
        await until_found(lambda: ready(server))
        answer = await start(server, "there is room")
        assert answer.status_code == 202, answer.text
        accepted.append(answer.json()["id"])
        await until_found(lambda: all_ended(server, accepted))
        again = await server.http.delete(f"/v1/executions/{deleted}", timeout=QUICK)
        assert again.status_code in (204, 404), again.text


async def test_a_disk_that_fails_for_a_while_costs_nothing_that_was_accepted(
    eio_library: Path, tmp_path: Path
) -> None:
    trigger = tmp_path / "failing"
    async with server_and_provider(
        tmp_path, LD_PRELOAD=str(eio_library), EIO_WHILE=str(trigger)
    ) as (
        server,
        _,
    ):
        body = {"input": "Go", "background": True}
        before = [
            (await server.http.post("/v1/agents/slow/execute", json=body)).json()["id"]
            for _ in range(20)
        ]
        trigger.touch()
        answers = await asyncio.gather(*(start(server, f"run {n}") for n in range(50)))
        assert {answer.status_code for answer in answers} == {503}
        assert not await ready(server)
        trigger.unlink()
        await until_found(lambda: ready(server))
        answer = await start(server, "healthy again")
        assert answer.status_code == 202, answer.text
        await until_found(lambda: all_ended(server, [*before, answer.json()["id"]]))
        listed = (await server.http.get("/v1/executions", params={"limit": 100})).json()["data"]
        assert len(listed) == len(before) + 1, "what was refused was not accepted in secret"
