"""What a process changes itself holds in it at once, whatever it read during the change."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from outlast.model.agent import Agent, AgentsFile, AgentSpec
from outlast.model.error import AgentNotFound, Unauthenticated
from outlast.model.execution import Status
from outlast.services.agents import Agents
from outlast.services.keys import Keys
from outlast.store.agents import AgentStore
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.keys import KeyStore
from outlast.store.page import Page
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.models import FakeModel
from tests.support.tools import FakeTools, spec
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

SPEC = AgentSpec("a", "m")


class SlowAgents(AgentStore):
    """Its writes begin once they may."""

    def __init__(self, store: AgentStore) -> None:
        super().__init__(store._driver)
        self.begun, self.may = asyncio.Event(), asyncio.Event()
        self.may.set()

    async def put(
        self,
        workspace_id: str,
        new_id: str,
        spec: AgentSpec,
        digest: str,
        at: int,
        source: str = "file",
    ) -> Agent:
        self.begun.set()
        await self.may.wait()
        return await super().put(workspace_id, new_id, spec, digest, at, source)

    async def retire_unnamed(self, request: AgentsFile) -> list[str]:
        self.begun.set()
        await self.may.wait()
        return await super().retire_unnamed(request)


class CutOffKeys(KeyStore):
    """Its revocations are committed, and never answered."""

    def __init__(self, store: KeyStore) -> None:
        super().__init__(store._driver)
        self.committed = asyncio.Event()

    async def revoke(self, workspace_id: str, key_id: str, at: int) -> None:
        await super().revoke(workspace_id, key_id, at)
        self.committed.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("change", ["new version", "retired"])
async def test_an_agent_read_while_it_is_changed_is_the_changed_one_afterwards(
    database: Database, change: str
) -> None:
    async with database.core(models=NamedModels({}), start=False) as core:
        caller = await owner(core)
        store = SlowAgents(core.store.agents)
        agents = Agents(store, FakeClock())
        workspace = caller.workspace_id
        await agents.put(workspace, [(SPEC, "1")], "agents.yaml")
        store.may.clear()
        store.begun.clear()
        async with asyncio.timeout(BOUND), asyncio.TaskGroup() as tasks:
            if change == "retired":
                tasks.create_task(agents.retire_unnamed(workspace, [], "agents.yaml", alone=True))
            else:
                new = replace(SPEC, instructions="New.")
                tasks.create_task(agents.put(workspace, [(new, "2")], "agents.yaml"))
            await store.begun.wait()
            assert (await agents.chosen(caller, "a")).version == 1
            store.may.set()
        if change == "retired":
            with pytest.raises(AgentNotFound):
                await agents.chosen(caller, "a")
        else:
            assert (await agents.chosen(caller, "a")).version == 2


async def test_a_key_opens_nothing_after_a_revocation_whose_client_was_cut_off(
    database: Database,
) -> None:
    async with database.core(models=NamedModels({}), start=False) as core:
        caller = await owner(core)
        store = CutOffKeys(core.store.keys)
        keys = Keys(store, FakeClock())
        made = await keys.create(caller.workspace_id, "some")
        await keys.authenticate(made.secret)
        async with asyncio.timeout(BOUND):
            revoking = asyncio.create_task(keys.revoke(caller.workspace_id, made.key.id))
            await store.committed.wait()
            revoking.cancel()
            with suppress(asyncio.CancelledError):
                await revoking
        with pytest.raises(Unauthenticated):
            await keys.authenticate(made.secret)


async def test_what_a_list_shows_as_completed_has_its_output_while_others_end(
    database: Database,
) -> None:
    """The status and the output of a list are of one row, which one commit has written."""
    models = NamedModels({"actor": FakeModel(lambda _: ["Good ", "day."])})
    async with database.core(models=models, tools=FakeTools()) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        lists, everything, page = core.services.lists, ExecutionFilter(), Page(50)
        left = 24

        async def runs() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                _, answer = await core.services.executions.run(caller, "agent", start_request())
                assert answer.execution.output == "Good day."
                found, _ = await lists.views(caller, everything, page)
                shown = {one.execution.id: one.execution for one in found}
                assert shown[answer.execution.id] == answer.execution, "what was answered is there"

        async def looks() -> None:
            while left > 0:
                for read in (lists.views, lists.whole):
                    found, _ = await read(caller, everything, page)
                    for one in (view.execution for view in found):
                        completed = one.status is Status.COMPLETED
                        assert one.output == "Good day." or not completed
                        assert (one.completed_at is not None) is completed

        async with asyncio.timeout(BOUND), asyncio.TaskGroup() as tasks:
            for work in (*[runs] * 6, looks):
                tasks.create_task(work())
