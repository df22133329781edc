"""What a parent of ten children costs in transactions and statements."""

from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast import agent_tool
from outlast.model.execution import Status
from outlast.store.executions.log import DELETE_LAST_TEXT
from tests.support.databases import SQLITE, Database
from tests.support.models import by_turn
from tests.support.recording import RecordingDriver, recorded
from tests.support.tools import call
from tests.support.trees import agent, make_team

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]
CHILDREN = 10
MOVES = 4 + 2 * CHILDREN
"""The parent's answer, begin, results and end; the begin and the end of each child."""
STATEMENTS = 227
"""Without those that delete text which was logged before its step ended: their number varies."""


async def test_the_results_of_ten_children_are_one_commit_and_their_ends_read_no_parent(
    database: Database,
) -> None:
    drivers: list[RecordingDriver] = []
    calls = [call(number, "researcher", input="x") for number in range(1, CHILDREN + 1)]
    plays: dict[str, Any] = {"lead": by_turn(calls, ["Done."]), "researcher": lambda _: ["."]}
    agents = agent("lead", agent_tool("researcher")), agent("researcher")
    async with AsyncExitStack() as stack:
        world = await make_team(database, stack)(plays, *agents, store=recorded(drivers))
        root = await world.start()
        ended = await world.until(root)
        results = await world.results(root)
        checkpoints = await world.store.checkpoints.of(world.caller.workspace_id, root)
    assert (ended.status, ended.steps, results) == (Status.COMPLETED, 12, ["."] * CHILDREN)
    assert [one.step for one in checkpoints] == list(range(1, 13)), "each result has its own"
    (driver,) = drivers
    assert driver.transactions.count("advance") == MOVES
    in_moves = sum(one is not DELETE_LAST_TEXT for one in driver.statements)
    assert in_moves <= STATEMENTS, in_moves
