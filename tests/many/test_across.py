"""Across processes: asked here, run there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from tests.many.world import FIVE, SPOKEN, Log, Town
from tests.processes import Frame

pytestmark = pytest.mark.anyio

SECOND = 1.0
POLLED = 1.5
"""Seconds that a worker may take to see a request which nobody told it of."""

_LOSE_HINTS = """
CREATE SCHEMA lost;
CREATE SEQUENCE lost.hints;
CREATE FUNCTION lost.pg_notify(text, text) RETURNS void LANGUAGE sql
    AS $$ SELECT nextval('lost.hints') $$;
ALTER DATABASE town SET search_path TO lost, pg_catalog, public
"""
_HEAR_AGAIN = "ALTER DATABASE town RESET search_path; DROP SCHEMA lost CASCADE"
_BREAK_OFF = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = 'town' AND pid <> pg_backend_pid()
"""


async def test_a_client_hears_live_what_a_worker_elsewhere_says_without_a_gap(town: Town) -> None:
    door, seen = town.doors["a"], list[Frame]()
    joined: asyncio.Task[Log] | None = None
    path, request = "/v1/agents/speaker/execute", {"input": "Speak", "stream": True}
    async with door.stream("POST", path, json=request) as answer:
        name, cursor = answer.headers["x-execution-id"], ""
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                cursor = line[4:]
            elif line.startswith("data: "):
                seen.append((cursor, line[6:].encode()))
                if joined is None and len(seen) > 10:
                    joined = asyncio.create_task(town.follow(name, "b"))
    log = Log(tuple(seen))
    assert len(log.of("text_delta")) > 20  # live, not all of it in the end
    assert joined is not None
    assert log == await joined == await town.log("a", name) == await town.log("b", name)


async def test_a_cancel_closes_the_model_call_of_a_worker_elsewhere_within_a_second(
    town: Town,
) -> None:
    name = await _talking(town)
    assert await _cancelled(town, name) < SECOND


async def test_a_caller_waits_across_processes_as_long_as_it_wants(town: Town) -> None:
    door, path = town.doors["a"], "/v1/agents/speaker/execute"
    whole = asyncio.create_task(door.post(path, json={"input": "Speak"}))
    left = await door.post(path, json={"input": "Speak"}, headers={"prefer": "wait=1"})
    assert (left.status_code, left.headers["preference-applied"]) == (202, "wait=1")
    assert left.json()["status"] == "running"
    name = left.headers["location"].removeprefix("/v1/executions/")
    waited = await town.doors["b"].post(
        "/v1/agents/idempotent/execute", json={"input": "Count"}, headers={"prefer": "wait=30"}
    )
    assert (waited.status_code, waited.json()["status"]) == (200, "completed")
    answer = await whole
    assert (answer.status_code, len(answer.json()["output"].split())) == (200, SPOKEN)
    assert (await town.log("b", name)).of("done")


async def test_a_client_that_hangs_up_changes_nothing(town: Town) -> None:
    closed = town.provider.cut_by_client
    path, request = "/v1/agents/speaker/execute", {"input": "Speak", "stream": True}
    async with town.doors["a"].stream("POST", path, json=request) as answer:
        name = answer.headers["x-execution-id"]
        async for line in answer.aiter_lines():
            if "text_delta" in line:
                break
    asked = town.provider.request_count
    with pytest.raises(httpx2.ReadTimeout):
        await town.doors["b"].post(
            "/v1/agents/speaker/execute", json={"input": "Wait"}, timeout=httpx2.Timeout(60, read=1)
        )
    await town.provider.wait_requests(asked + 1)
    await town.log("b", name)
    assert len((await town.execution("b", name))["output"].split()) == SPOKEN
    newest = (await town.doors["a"].get("/v1/executions?limit=1")).json()["data"][0]
    assert len((await _ended(town, newest["id"]))["output"].split()) == SPOKEN
    assert town.provider.cut_by_client == closed


async def _ended(town: Town, name: str) -> dict[str, Any]:
    await town.log("b", name)
    return await town.execution("b", name)


async def test_where_every_hint_is_lost_all_goes_on_by_looking(town: Town) -> None:
    async with _deaf(town):
        post = town.doors["a"].post
        waiting = asyncio.create_task(post("/v1/agents/idempotent/execute", json={"input": "Go"}))
        spoken = await town.background("a", "speaker")
        following = [asyncio.create_task(town.follow(spoken, api)) for api in ("a", "b")]
        assert await _cancelled(town, await _talking(town)) < POLLED
        answer = await waiting
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")
        log = await town.log("a", spoken)
        assert await asyncio.gather(*following) == [log, log]
        [(lost, called)] = await town.rows("SELECT last_value, is_called FROM lost.hints")
        assert called
        assert lost > 10


@asynccontextmanager
async def _deaf(town: Town) -> AsyncIterator[None]:
    """No NOTIFY leaves Postgres: everybody's connections find a function that does nothing."""
    await town.rows(_LOSE_HINTS)
    await town.rows(_BREAK_OFF)
    await town.ready(*FIVE)
    try:
        yield
    finally:
        await town.rows(_HEAR_AGAIN)
        await town.rows(_BREAK_OFF)


async def _talking(town: Town) -> str:
    """An execution whose model call is open in a worker, as both API processes can tell."""
    name = await town.background("a", "talker")
    async for _, data in town.stream("b", name):
        if b"text_delta" in data:
            break
    return name


async def _cancelled(town: Town, name: str) -> float:
    """Cancel over the other API process; seconds until the provider saw its socket closed."""
    loop = asyncio.get_running_loop()
    closed, began = town.provider.cut_by_client, loop.time()
    asking = asyncio.create_task(town.doors["b"].post(f"/v1/executions/{name}/cancel"))
    await town.provider.wait_cut(closed + 1)
    seconds = loop.time() - began
    answer = await asking
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert answer.json()["output"]
    return seconds
