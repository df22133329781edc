"""A fleet on Postgres in chaos: every accepted execution and tree ends, and nothing runs twice."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.support.fleet import Fleet, durable_cluster, running_fleet
from tests.support.long_cases import WHOLE
from tests.support.postgres import Cluster
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio
SECONDS: Final = 70.0 if WHOLE else 8.0
RATE: Final = 20.0
"""Executions that clients ask for in a second."""
DROP_CONNECTIONS: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
UNCHARGED: Final = """
SELECT id FROM executions WHERE credits <>
    (SELECT coalesce(sum(credits), 0) FROM charges WHERE execution_id = executions.id)
"""
"""Executions that do not agree with the ledger."""


@pytest.fixture(scope="package")
def postgres() -> Iterator[Cluster]:
    with durable_cluster() as cluster:
        yield cluster


@pytest.fixture
async def fleet(postgres: Cluster, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with running_fleet(tmp_path, postgres) as fleet:
        yield fleet


class Chaos:
    """Disruptions, one after the other, by a seed."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self._fleet = fleet
        self._random = random.Random(seed)
        self.done: list[str] = []

    async def disrupt(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until_then = loop.time() + seconds
        acts = [self._kill, self._freeze, self._leave, self._drop, self._kill_api]
        while loop.time() < until_then:
            act = self._random.choice(acts)
            self.done.append(act.__name__.strip("_"))
            await act()
            await asyncio.sleep(self._random.uniform(0.1, 0.8))

    def _worker(self) -> str:
        return self._random.choice(["w1", "w2", "w3"])

    async def _kill(self) -> None:
        name = self._worker()
        await self._fleet.kill(name)
        await self._fleet.start(name)

    async def _kill_api(self) -> None:
        name = self._random.choice(["a", "b"])
        await self._fleet.kill(name)
        await self._fleet.start(name)

    async def _freeze(self) -> None:
        """Longer than a lease: others take over, and it comes back from the dead."""
        name = self._worker()
        self._fleet.freeze(name)
        await asyncio.sleep(4)
        self._fleet.thaw(name)

    async def _leave(self) -> None:
        name = self._worker()
        await self._fleet.leave(name)
        await self._fleet.start(name)

    async def _drop(self) -> None:
        await self._fleet.rows(DROP_CONNECTIONS)


async def accept(fleet: Fleet, number: int) -> tuple[str, str]:
    """Start one as a client that does not give up: under one key, at whichever API answers."""
    agent = ("idempotent", "destructive", "speaker", "upper")[number % 4]
    headers = {"Idempotency-Key": f"chaos-{number}"}
    body = {"input": f"run {number}", "background": True}
    while True:
        for name in ("a", "b"):
            with suppress(httpx2.TransportError):
                answer = await fleet.clients[name].post(
                    f"/v1/agents/{agent}/execute", json=body, headers=headers, timeout=10
                )
                if answer.status_code == 202:
                    return agent, str(answer.json()["id"])
                assert answer.status_code in (409, 429, 503), answer.text
        await asyncio.sleep(0.1)


async def agree_on_tree(fleet: Fleet, root: str) -> None:
    """A tree of three levels has ended whole, and made each call once."""
    answer = await fleet.clients["b"].get("/v1/executions", params={"rootId": root})
    tree = [await fleet.execution("a", root), *answer.json()["data"]]
    assert [one["status"] for one in tree] == ["completed"] * 3, tree
    calls = sorted(call["name"] for one in tree for call in one["toolCalls"])
    assert calls == ["count", "count", "count", "idempotent", "middle"]


async def settled_status(fleet: Fleet, execution_id: str) -> dict[str, Any] | None:
    found = await fleet.execution("a", execution_id)
    return found if found["status"] not in ("queued", "running") else None


async def test_a_fleet_in_chaos_loses_nothing_and_does_nothing_twice(fleet: Fleet) -> None:
    chaos = Chaos(fleet, seed=11)
    disrupting = asyncio.create_task(chaos.disrupt(SECONDS))
    accepting = []
    for number in range(round(SECONDS * RATE)):
        accepting.append(asyncio.create_task(accept(fleet, number)))
        await asyncio.sleep(1 / RATE)
    await disrupting
    await fleet.mend()
    accepted = await asyncio.gather(*accepting)
    assert len({one for _, one in accepted}) == len(accepted), "a key made one execution each"

    for agent, one in accepted:
        found = await until_found(lambda one=one: settled_status(fleet, one))  # type: ignore[misc]
        if found["status"] == "suspended":
            assert agent == "destructive", found
            assert [approval["kind"] for approval in found["pendingApprovals"]] == [
                "unknown_outcome"
            ]
        else:
            assert found["status"] == "completed", (chaos.done, found)
        log = await fleet.log("a", one) if found["status"] == "completed" else None
        if log is not None:
            assert log.cursors == sorted(set(log.cursors))
            assert len(log.of("done")) == 1
        if agent == "upper":
            await agree_on_tree(fleet, one)
        if agent == "destructive":
            calls = [fleet.tools.calls[call["id"]] for call in found["toolCalls"]]
            calls += [
                fleet.tools.calls[approval["toolCallId"]] for approval in found["pendingApprovals"]
            ]
            assert all(count <= 1 for count in calls), found
    assert not await fleet.orphans()
    assert await fleet.rows(UNCHARGED) == []
