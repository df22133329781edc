"""Every follower gets the whole log once, in order, however late or slow."""

import asyncio

import pytest

from outlast import stream
from outlast.model.error import ExecutionNotFound
from outlast.model.event import START, Cursor, Entry
from outlast.model.workspace import Principal
from outlast.services.executions import Executions
from outlast.testing import NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


async def followed(
    executions: Executions, caller: Principal, execution_id: str, after: Cursor = START
) -> list[Entry]:
    async with asyncio.timeout(BOUND):
        return [
            entry
            async for entries in executions.follow(caller, execution_id, after)
            for entry in entries
        ]


async def test_many_followers_of_one_execution_get_the_same(database: Database) -> None:
    gate = asyncio.Event()
    words = [f"{n} " for n in range(300)]
    actor = FakeModel(by_turn([call(1, "look")], [*words[:150], gate, *words[150:]]))
    async with database.core(
        models=NamedModels({"actor": actor}), tools=FakeTools(look=lambda _: 1)
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(tool("look")), "1")])
        executions = core.services.executions
        started = await executions.start(caller, "agent", start_request())
        follow = [
            asyncio.ensure_future(followed(executions, caller, started.execution.id))
            for _ in range(20)
        ]
        await asyncio.wait_for(actor.spoke.wait(), BOUND)
        gate.set()
        live = await asyncio.gather(*follow)
        late = await followed(executions, caller, started.execution.id)
        # a piece's time is that of its flush while it is live, of its run's first once that is over
        same = [(entry.cursor, entry.event) for entry in late]
        assert all([(entry.cursor, entry.event) for entry in one] == same for one in live)
        assert [e.seq for e in late] == list(range(1, len(late) + 1))
        assert core.streams.followers == 0


async def test_a_stream_cut_at_every_index_goes_on_without_a_gap_or_a_repeat(
    database: Database,
) -> None:
    actor = FakeModel(by_turn(["a ", "b ", call(1, "look")], ["c ", "d ", "e "]))
    async with database.core(
        models=NamedModels({"actor": actor}), tools=FakeTools(look=lambda _: 1)
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(tool("look")), "1")])
        executions = core.services.executions
        started = await executions.start(caller, "agent", start_request())
        whole = await followed(executions, caller, started.execution.id)
        for cut, entry in enumerate(whole, 1):
            rest = await followed(executions, caller, started.execution.id, entry.cursor)
            assert rest == whole[cut:]


async def test_a_slow_follower_costs_no_memory_and_misses_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_BUFFER", 2)
    actor = FakeModel(
        lambda _: ["x", call(len(actor.requests), "look")] if len(actor.requests) < 9 else ["y"]
    )
    async with database.core(
        models=NamedModels({"actor": actor}), tools=FakeTools(look=lambda _: 1)
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(tool("look")), "1")])
        executions = core.services.executions
        started = await executions.start(caller, "agent", start_request())
        slow = executions.follow(caller, started.execution.id)
        heard = list(await anext(slow))
        await executions.rest(caller, started.execution.id)
        async for entries in slow:
            heard.extend(entries)
        assert heard == await followed(executions, caller, started.execution.id)


async def test_a_lost_notification_is_made_up_for_by_looking(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream._Subscription, "add", lambda *_: None)
    actor = FakeModel(by_turn(["a ", "b "]))
    async with database.core(models=NamedModels({"actor": actor}), tools=FakeTools()) as core:
        core.streams.poll_seconds = 0.01
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        executions = core.services.executions
        async with asyncio.timeout(BOUND):
            started, view = await executions.run(caller, "agent", start_request())
        assert view.execution.output == "a b "
        entries = await followed(executions, caller, started.execution.id)
        assert entries[-1].event.kind == "execution.completed"


async def test_following_what_is_anothers_is_following_nothing(database: Database) -> None:
    actor = FakeModel(by_turn(["a"]))
    async with database.core(models=NamedModels({"actor": actor}), tools=FakeTools()) as core:
        caller, other = await owner(core), await owner(core, "other")
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        started, _ = await core.services.executions.run(caller, "agent", start_request())
        with pytest.raises(ExecutionNotFound):
            await followed(core.services.executions, other, started.execution.id)
        assert core.streams.followers == 0
