"""Across processes: requested here, run there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from tests.support.fleet import FIVE, SPOKEN, Fleet, Log
from tests.support.processes import Frame

pytestmark = pytest.mark.anyio

SECOND = 1.0
POLLED = 1.5
"""Seconds that a worker may take to see a request of which no notification came."""

_LOSE_HINTS = """
CREATE SCHEMA lost;
CREATE SEQUENCE lost.hints;
CREATE FUNCTION lost.pg_notify(text, text) RETURNS void LANGUAGE sql
    AS $$ SELECT nextval('lost.hints') $$;
ALTER DATABASE fleet SET search_path TO lost, pg_catalog, public
"""
_CONNECT_AGAIN = "ALTER DATABASE fleet RESET search_path; DROP SCHEMA lost CASCADE"
_BREAK_OFF = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = 'fleet' AND pid <> pg_backend_pid()
"""


async def test_a_client_gets_live_what_a_worker_elsewhere_says_without_a_gap(fleet: Fleet) -> None:
    client, seen = fleet.clients["a"], list[Frame]()
    joined: asyncio.Task[Log] | None = None
    path, request = "/v1/agents/speaker/execute", {"input": "Speak", "stream": True}
    async with client.stream("POST", path, json=request) as answer:
        name, cursor = answer.headers["x-execution-id"], ""
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                cursor = line[4:]
            elif line.startswith("data: "):
                seen.append((cursor, line[6:].encode()))
                if joined is None and len(seen) > 10:
                    joined = asyncio.create_task(fleet.follow(name, "b"))
    log = Log(tuple(seen))
    assert len(log.of("text_delta")) > 20  # live, not all of it in the end
    assert joined is not None
    assert log == await joined == await fleet.log("a", name) == await fleet.log("b", name)


async def test_a_cancel_closes_the_model_call_of_a_worker_elsewhere_within_a_second(
    fleet: Fleet,
) -> None:
    name = await _talking(fleet)
    assert await _cancelled(fleet, name) < SECOND


async def test_a_caller_waits_across_processes_as_long_as_it_wants(fleet: Fleet) -> None:
    client, path = fleet.clients["a"], "/v1/agents/speaker/execute"
    whole = asyncio.create_task(client.post(path, json={"input": "Speak"}))
    left = await client.post(path, json={"input": "Speak"}, headers={"prefer": "wait=1"})
    assert (left.status_code, left.headers["preference-applied"]) == (202, "wait=1")
    assert left.json()["status"] == "running"
    name = left.headers["location"].removeprefix("/v1/executions/")
    waited = await fleet.clients["b"].post(
        "/v1/agents/idempotent/execute", json={"input": "Count"}, headers={"prefer": "wait=30"}
    )
    assert (waited.status_code, waited.json()["status"]) == (200, "completed")
    answer = await whole
    assert (answer.status_code, len(answer.json()["output"].split())) == (200, SPOKEN)
    assert (await fleet.log("b", name)).of("done")


async def test_a_client_that_hangs_up_changes_nothing(fleet: Fleet) -> None:
    closed = fleet.provider.cut_by_client
    path, request = "/v1/agents/speaker/execute", {"input": "Speak", "stream": True}
    async with fleet.clients["a"].stream("POST", path, json=request) as answer:
        name = answer.headers["x-execution-id"]
        async for line in answer.aiter_lines():
            if "text_delta" in line:
                break
    requests = fleet.provider.request_count
    with pytest.raises(httpx2.ReadTimeout):
        await fleet.clients["b"].post(
            "/v1/agents/speaker/execute", json={"input": "Wait"}, timeout=httpx2.Timeout(60, read=1)
        )
    await fleet.provider.wait_requests(requests + 1)
    await fleet.log("b", name)
    assert len((await fleet.execution("b", name))["output"].split()) == SPOKEN
    newest = (await fleet.clients["a"].get("/v1/executions?limit=1")).json()["data"][0]
    assert len((await _ended(fleet, newest["id"]))["output"].split()) == SPOKEN
    assert fleet.provider.cut_by_client == closed


async def _ended(fleet: Fleet, name: str) -> dict[str, Any]:
    await fleet.log("b", name)
    return await fleet.execution("b", name)


async def test_where_every_notification_is_lost_all_goes_on_by_looking(fleet: Fleet) -> None:
    async with _deaf(fleet):
        post = fleet.clients["a"].post
        waiting = asyncio.create_task(post("/v1/agents/idempotent/execute", json={"input": "Go"}))
        spoken = await fleet.background("a", "speaker")
        following = [asyncio.create_task(fleet.follow(spoken, api)) for api in ("a", "b")]
        assert await _cancelled(fleet, await _talking(fleet)) < POLLED
        answer = await waiting
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")
        log = await fleet.log("a", spoken)
        assert await asyncio.gather(*following) == [log, log]
        [(lost, called)] = await fleet.rows("SELECT last_value, is_called FROM lost.hints")
        assert called
        assert lost > 10


@asynccontextmanager
async def _deaf(fleet: Fleet) -> AsyncIterator[None]:
    """No NOTIFY leaves Postgres: everybody's connections find a function that does nothing."""
    await fleet.rows(_LOSE_HINTS)
    await fleet.rows(_BREAK_OFF)
    await fleet.ready(*FIVE)
    try:
        yield
    finally:
        await fleet.rows(_CONNECT_AGAIN)
        await fleet.rows(_BREAK_OFF)


async def _talking(fleet: Fleet) -> str:
    """An execution whose model call is open in a worker, as both API processes can tell."""
    name = await fleet.background("a", "talker")
    async for _, data in fleet.stream("b", name):
        if b"text_delta" in data:
            break
    return name


async def _cancelled(fleet: Fleet, name: str) -> float:
    """Cancel over the other API process; seconds until the provider saw its socket closed."""
    loop = asyncio.get_running_loop()
    closed, began = fleet.provider.cut_by_client, loop.time()
    asking = asyncio.create_task(fleet.clients["b"].post(f"/v1/executions/{name}/cancel"))
    await fleet.provider.wait_cut(closed + 1)
    seconds = loop.time() - began
    answer = await asking
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert answer.json()["output"]
    return seconds
