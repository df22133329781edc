"""Retention where the leader dies in the middle of a purge: the next leader does the rest."""

from functools import partial
from typing import Final

import pytest

from tests.many.test_purge import CONTENT, DUE, SPENT, age, conversations_of, copy, starter_plan
from tests.support.fleet import Fleet
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio

COPIES: Final = 80
"""Of each of two trees: several of the duty's transactions, with its pauses."""
_PURGING: Final = "SELECT count(*) FROM executions WHERE purging"
_PURGED: Final = "SELECT count(*) FROM executions WHERE is_purged"


async def test_a_leader_that_is_killed_while_it_purges_leaves_nothing_half_deleted(
    fleet: Fleet,
) -> None:
    trees = await fleet.many("upper", 2)
    for one in trees:
        assert (await fleet.log("a", one)).of("done")
    await copy(fleet, trees, COPIES)
    aged = await age(fleet, await conversations_of(fleet, trees))
    ((total,),) = await fleet.rows(DUE, aged)
    assert total >= 2 * COPIES
    ((before,),) = await fleet.rows(_PURGED)
    ((now,),) = await fleet.rows("SELECT max(at) + 1 FROM charges")
    spent = await fleet.rows(SPENT, now)

    async def deleted() -> int:
        return int(total - (await fleet.rows(DUE, aged))[0][0])

    async def has_deleted(least: int) -> bool:
        return await deleted() >= least

    async def is_emptying() -> bool:
        """Whether all conversations are gone, and content is left."""
        return await has_deleted(int(total)) and bool((await fleet.rows(_PURGING))[0][0])

    async def is_empty() -> bool:
        return await has_deleted(int(total)) and not (await fleet.rows(_PURGING))[0][0]

    async with starter_plan(fleet):
        first = await fleet.leader()
        await fleet.kill(first)  # the next one looks at once
        second = await fleet.leader()
        await until_found(partial(has_deleted, 1), steady=True)
        await fleet.kill(second)
        assert await deleted() < total, "in the middle"
        third = await fleet.leader()
        await until_found(is_emptying, steady=True)
        await fleet.kill(third)
        assert (await fleet.rows(_PURGING))[0][0], "in the middle of its content"
        await until_found(is_empty)
        assert await fleet.rows("SELECT execution_id FROM purged_again") == []
        await fleet.start(first, second, third)

    for table in ("events", "checkpoints", "waits"):
        assert await fleet.rows(CONTENT.format(table=table)) == [(0,)], table
    ((purged,),) = await fleet.rows(_PURGED)
    assert purged - before >= 2 * COPIES * 3, "each tree with what it has called"
    assert await fleet.rows(SPENT, now) == spent
