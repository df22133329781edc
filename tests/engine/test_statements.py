"""What a plain run costs on Postgres, in statements; by the server's own log."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from outlast import agent_tool
from outlast.model.agent import AgentSpec
from outlast.model.execution import Status
from outlast.model.workspace import Principal
from outlast.testing import FakeClock, NamedModels, core_on, owner
from tests.support.databases import POSTGRESQL, migrate_postgres
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.postgres import Cluster, Databases
from tests.support.statement_log import LOGGED, Ran, StatementLog, transactions
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.trees import CHILD, agent
from tests.support.waiting import between_looks

pytestmark = [pytest.mark.anyio, pytest.mark.only(POSTGRESQL)]
RUNS = 12
"""Prepared once the first of them are over; in the rest a duty may fall, or a second piece of
text: the cheapest is what a run costs."""
BOUND = 30.0
PLAIN, CONTROL = 7, {"BEGIN": 1, "COMMIT": 1}
"""Create; begin; text; end (4)."""
WITH_A_TOOL = 12
OF_A_TREE, TREE_TRANSACTIONS = 44, 20
"""Of a parent of ten children; ten plain runs are 70 and 40."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(None, **LOGGED, log_statement="all") as cluster:
        yield cluster


@pytest.fixture
def url(cluster: Cluster) -> Iterator[str]:
    with closing(Databases(cluster.url())) as databases:
        yield databases.migrated(migrate_postgres)


async def _cheapest(
    folder: Path, cluster: Cluster, url: str, model: FakeModel, *agents: AgentSpec
) -> list[Ran]:
    others = FakeModel(lambda _: ["."])
    models, clock = NamedModels({"actor": model, "worker": others}), FakeClock()
    tools = FakeTools(look=lambda _: "found", worker=CHILD)
    async with core_on(folder, database_url=url, models=models, tools=tools, clock=clock) as core:
        caller: Principal = await owner(core)
        made = [(one, repr(one)) for one in agents or (spec(tool("look")),)]
        await core.services.agents.put(caller.workspace_id, made)
        driver: Any = core.store.driver
        async with asyncio.timeout(BOUND):
            while driver._announcer._peers.some():  # it has just begun to listen
                await between_looks()
        log, found = StatementLog(cluster.log, url), list[list[Ran]]()
        for _ in range(RUNS):
            log.new()
            name = made[0][0].name
            _, view = await core.services.executions.run(caller, name, start_request())
            assert view.execution.status is Status.COMPLETED
            async with asyncio.timeout(BOUND):
                while core.engine.running:
                    await between_looks()
            found.append(log.new())
    return min(found, key=len)


async def test_a_run_of_one_model_call_is_seven_statements_in_four_transactions(
    tmp_path: Path, cluster: Cluster, url: str
) -> None:
    ran = await _cheapest(tmp_path, cluster, url, FakeModel(by_turn(["Good ", "day."])))
    shown = "\n".join(f"{one.process} {one.text[:200]}" for one in ran)
    control = Counter(one.control for one in ran if one.control)
    assert len(ran) - control.total() <= PLAIN, shown
    assert control.total() <= sum(CONTROL.values()), shown
    assert transactions(ran) <= 4, shown
    assert not [one for one in ran if "pg_notify" in one.text], "no other process listens"


async def test_a_run_with_a_tool_call_costs_a_few_more(
    tmp_path: Path, cluster: Cluster, url: str
) -> None:
    model = FakeModel(by_turn([call(1, "look")], ["Done."]))
    ran = await _cheapest(tmp_path, cluster, url, model)
    shown = "\n".join(f"{one.process} {one.text[:200]}" for one in ran)
    assert len([one for one in ran if not one.control]) <= WITH_A_TOOL, shown


async def test_a_parent_of_ten_children_costs_fewer_than_ten_runs(
    tmp_path: Path, cluster: Cluster, url: str
) -> None:
    calls = [call(number, "worker", input="x") for number in range(1, 11)]
    lead = AgentSpec("lead", "actor", "Be kind.", tools=(agent_tool("worker"),))
    model = FakeModel(by_turn(calls, ["Done."]))
    ran = await _cheapest(tmp_path, cluster, url, model, lead, agent("worker"))
    shown = "\n".join(f"{one.process} {one.text[:200]}" for one in ran)
    assert len([one for one in ran if not one.control]) <= OF_A_TREE, shown
    assert transactions(ran) <= TREE_TRANSACTIONS, shown
