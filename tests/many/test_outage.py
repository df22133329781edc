"""Postgres is killed in the middle of everything, and started again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

import httpx2
import pytest

from tests.support.fleet import SPOKEN, Fleet, Log
from tests.support.postgres import Cluster

pytestmark = pytest.mark.anyio

COUNTERS, SPEAKERS, FOLLOWED = 70, 30, 8
ANSWERED_SECONDS = 8.0
"""A request waits 3 s for a connection; the rest is for a busy machine."""


async def test_what_was_accepted_outlasts_a_killed_postgres_and_requests_meanwhile_get_503(
    fleet: Fleet,
) -> None:
    fleet.tools.answering.clear()
    known = set(fleet.tools.calls)
    counters = await fleet.many("idempotent", COUNTERS)
    await fleet.tools.until(lambda: len(set(fleet.tools.calls) - known) == COUNTERS)
    speakers = await fleet.many("speaker", SPEAKERS)
    spoken = asyncio.Event()
    followed = [*speakers[:FOLLOWED], *counters[:FOLLOWED]]
    following = [
        asyncio.create_task(fleet.follow(name, *apis, heard=lambda _: spoken.set()))
        for name, apis in zip(followed, cycle([("a", "b"), ("b", "a")]), strict=False)
    ]
    await spoken.wait()

    async with _down(fleet.cluster):
        fleet.tools.answering.set()
        await _unavailable(fleet, counters[0])

    await fleet.ready("a", "b", "w1", "w2", "w3")
    logs = await fleet.logs("a", counters + speakers)
    for name, log in logs.items():
        assert log.of("done"), log.data[-1]
        assert (await fleet.execution("b", name))["status"] == "completed"
    for name in counters:
        _check_calls(fleet, logs[name])
    for name in speakers:
        assert len((await fleet.execution("a", name))["output"].split()) == SPOKEN
    for task, name in zip(following, followed, strict=True):
        assert (await task).standing == logs[name].standing
    assert not await fleet.orphans()


@asynccontextmanager
async def _down(cluster: Cluster) -> AsyncIterator[None]:
    await asyncio.to_thread(cluster.stop, "immediate")
    try:
        yield
    finally:
        await asyncio.to_thread(cluster.start)


def _check_calls(fleet: Fleet, log: Log) -> None:
    [started], [_] = log.of("tool_call_start"), log.of("tool_call_end")
    assert fleet.tools.calls[started["id"]] <= 1 + log.retries(2)


async def _unavailable(fleet: Fleet, execution_id: str) -> None:
    """Every route of both API processes says so in its room's shape, and soon."""
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/v1/agents/speaker/execute", {"input": "Go"}),
        ("POST", "/v1/agents/speaker/execute", {"input": "Go", "background": True}),
        ("POST", "/v1/agents/speaker/execute", {"input": "Go", "stream": True}),
        ("POST", "/v1/agents/speaker/execute", None),
        ("GET", "/v1/executions", None),
        ("GET", f"/v1/executions/{execution_id}", None),
        ("GET", f"/v1/executions/{execution_id}/stream", None),
        ("POST", f"/v1/executions/{execution_id}/cancel", None),
        ("GET", "/v1/events", None),
        ("GET", "/v1/agents/speaker/events", None),
    ]
    async with asyncio.timeout(ANSWERED_SECONDS):
        answers = await asyncio.gather(
            *(
                fleet.clients[api].request(method, path, **({"json": body} if body else {}))
                for api in ("a", "b")
                for method, path, body in requests
            ),
            *(fleet.clients[name].get("/readyz") for name in ("a", "b", "w1", "w2", "w3")),
            *(fleet.clients[name].get("/healthz") for name in ("a", "b", "w1", "w2", "w3")),
        )
    rooms, ready, alive = answers[:20], answers[20:25], answers[25:]
    for answer in rooms:
        _check_503(answer)
    assert [answer.status_code for answer in ready] == [503] * 5
    assert [answer.status_code for answer in alive] == [200] * 5


def _check_503(answer: httpx2.Response) -> None:
    assert answer.status_code == 503, (answer.request.url, answer.text)
    assert int(answer.headers["retry-after"]) >= 1
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("overloaded_error", "overloaded")
    assert error["requestId"] == answer.headers["x-request-id"]
