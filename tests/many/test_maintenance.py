"""Maintenance of a town: one process leads, another one soon after its death, nothing twice."""

import asyncio

import pytest

from tests.many.world import TAKEOVER_SECONDS, Town, until

pytestmark = pytest.mark.anyio

COUNT = 40
BUSY_MILLIS = 2000
HEIR_SECONDS = TAKEOVER_SECONDS / 2 + 3.5
"""A lease, a look, and what a busy machine adds."""


async def test_one_worker_of_five_processes_leads(town: Town) -> None:
    leader = await town.leader()
    assert leader.startswith("w")
    assert len(await town.rows("SELECT holder FROM maintenance_leases WHERE works")) == 1


async def test_an_approval_expires_within_a_second_of_its_time(town: Town) -> None:
    await town.leader()
    ids = await town.many("expiring", COUNT)
    for log in (await town.logs("b", ids)).values():
        assert log.of("done")
    late = "SELECT max(decided_at - expires_at) FROM approvals WHERE execution_id = ANY(%s)"
    [(millis,)] = await town.rows(late, ids)
    assert 0 <= millis <= 1000 + BUSY_MILLIS


async def test_a_killed_leader_is_followed_within_its_lease_and_nothing_is_done_twice(
    town: Town,
) -> None:
    tools = town.tools
    known = set(tools.calls)
    leader = await town.leader()
    ids = await town.many("expiring", COUNT)
    held = await town.many("idempotent", COUNT)
    await until(lambda: _suspended(town, ids))
    loop = asyncio.get_running_loop()

    await town.kill(leader)
    killed = loop.time()
    heir = await town.leader()
    assert heir != leader
    assert heir.startswith("w")
    assert loop.time() - killed < HEIR_SECONDS

    logs = await town.logs("a", ids + held)
    for name in ids:
        [resolved] = logs[name].of("approval_resolved")
        assert resolved["approved"] is True
        [call] = (await town.execution("a", name))["toolCalls"]
        assert call["name"] == "count"
        assert len(logs[name].of("tool_call_end")) == 1
    for name in held:
        assert len(logs[name].of("tool_call_end")) == 1
    assert len(set(tools.calls) - known) == len(ids) + len(held)
    assert not await town.orphans()


async def _suspended(town: Town, ids: list[str]) -> bool:
    """Whether each has come as far as its question, answered or not."""
    rows = await town.rows("SELECT count(*) FROM approvals WHERE execution_id = ANY(%s)", ids)
    return bool(rows[0][0] == len(ids))


async def test_a_leader_that_leaves_is_followed_at_once(town: Town) -> None:
    leader = await town.leader()
    rows = "SELECT expires_at FROM maintenance_leases WHERE holder <> %s"
    [(holder,)] = await town.rows("SELECT holder FROM maintenance_leases")
    await town.leave(leader)
    assert await until(lambda: town.rows(rows, holder), HEIR_SECONDS)
    assert await town.leader() != leader


async def test_a_frozen_leader_wakes_up_as_a_follower(town: Town) -> None:
    leader = await town.leader()
    town.freeze(leader)
    heir = await town.leader()
    assert heir != leader
    ids = await town.many("expiring", 5)
    town.thaw(leader)
    await until(lambda: _only(town, heir))
    for log in (await town.logs("b", ids)).values():
        assert len(log.of("approval_resolved")) == 1


async def _only(town: Town, leader: str) -> bool:
    return await town.leaders() == [leader]


async def test_a_process_that_runs_no_executions_leads_while_no_worker_lives(town: Town) -> None:
    await town.kill("w1", "w2", "w3")
    assert await town.leader() in ("a", "b")
    await town.start("w1", "w2", "w3")
    await town.ready("w1", "w2", "w3")

    async def works() -> bool:
        found = await town.leaders()
        return len(found) == 1 and found[0].startswith("w")

    await until(works)
