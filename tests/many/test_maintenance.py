"""Maintenance of a fleet: one process leads, another one soon after its death, nothing twice."""

import asyncio

import pytest

from tests.support.fleet import TAKEOVER_SECONDS, Fleet
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio

COUNT = 40
BUSY_MILLIS = 10_000
HEIR_SECONDS = TAKEOVER_SECONDS / 2 + 3.5
"""A lease, a look, and what a busy machine adds."""


async def test_one_worker_of_five_processes_leads(fleet: Fleet) -> None:
    leader = await fleet.leader()
    assert leader.startswith("w")
    assert len(await fleet.rows("SELECT holder FROM maintenance_leases WHERE works")) == 1


async def test_an_approval_expires_within_a_second_of_its_time(fleet: Fleet) -> None:
    await fleet.leader()
    ids = await fleet.many("expiring", COUNT)
    for log in (await fleet.logs("b", ids)).values():
        assert log.of("done")
    late = "SELECT max(decided_at - due_at) FROM waits WHERE execution_id = ANY(%s)"
    [(millis,)] = await fleet.rows(late, ids)
    assert 0 <= millis <= 1000 + BUSY_MILLIS


async def test_a_killed_leader_is_followed_within_its_lease_and_nothing_is_done_twice(
    fleet: Fleet,
) -> None:
    tools = fleet.tools
    known = set(tools.calls)
    leader = await fleet.leader()
    ids = await fleet.many("expiring", COUNT)
    held = await fleet.many("idempotent", COUNT)
    await until_found(lambda: _suspended(fleet, ids))
    loop = asyncio.get_running_loop()

    await fleet.kill(leader)
    killed = loop.time()
    heir = await fleet.leader()
    assert heir != leader
    assert heir.startswith("w")
    assert loop.time() - killed < HEIR_SECONDS

    logs = await fleet.logs("a", ids + held)
    for name in ids:
        [resolved] = logs[name].of("approval_resolved")
        assert resolved["approved"] is True
        [call] = (await fleet.execution("a", name))["toolCalls"]
        assert call["name"] == "count"
        assert len(logs[name].of("tool_call_end")) == 1
    for name in held:
        assert len(logs[name].of("tool_call_end")) == 1
    assert len(set(tools.calls) - known) == len(ids) + len(held)
    assert not await fleet.orphans()


async def _suspended(fleet: Fleet, ids: list[str]) -> bool:
    """Whether each has come as far as its question, answered or not."""
    rows = await fleet.rows("SELECT count(*) FROM waits WHERE execution_id = ANY(%s)", ids)
    return bool(rows[0][0] == len(ids))


async def test_a_leader_that_leaves_is_followed_at_once(fleet: Fleet) -> None:
    leader = await fleet.leader()
    rows = "SELECT expires_at FROM maintenance_leases WHERE holder <> %s"
    [(holder,)] = await fleet.rows("SELECT holder FROM maintenance_leases")
    await fleet.leave(leader)
    assert await until_found(lambda: fleet.rows(rows, holder), HEIR_SECONDS)
    assert await fleet.leader() != leader


async def test_a_frozen_leader_wakes_up_as_a_follower(fleet: Fleet) -> None:
    leader = await fleet.leader()
    fleet.freeze(leader)
    heir = await fleet.leader()
    assert heir != leader
    ids = await fleet.many("expiring", 5)
    fleet.thaw(leader)
    await until_found(lambda: _only(fleet, heir))
    for log in (await fleet.logs("b", ids)).values():
        assert len(log.of("approval_resolved")) == 1


async def _only(fleet: Fleet, leader: str) -> bool:
    return await fleet.leaders() == [leader]


async def test_a_process_that_runs_no_executions_leads_while_no_worker_lives(fleet: Fleet) -> None:
    await fleet.kill("w1", "w2", "w3")
    assert await fleet.leader() in ("a", "b")
    await fleet.start("w1", "w2", "w3")
    await fleet.ready("w1", "w2", "w3")

    async def works() -> bool:
        found = await fleet.leaders()
        return len(found) == 1 and found[0].startswith("w")

    await until_found(works)
