"""Few replays of large executions hold what they have read at the same time."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing

import pytest

from outlast.model.event import START
from outlast.replay import Replays
from outlast.testing import NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, Reply
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = pytest.mark.anyio
BOUND = 20.0
SHAPES: dict[str, tuple[Reply, int]] = {
    "one piece": (["x" * 3_000_000], 1),
    "some large pieces": (["x" * 200_000] * 10, 1),
    "many pieces": (["word " * 800] * 500, 8),
    "a tool's result": ([call(1, "look")], 1),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_few_large_replays_hold_their_entries_at_once_and_all_get_their_turn(
    database: Database, shape: str
) -> None:
    said, most = SHAPES[shape]
    replies: Iterator[Reply] = iter((said, *(["end"] for _ in range(3))))
    actor = FakeModel(lambda _: next(replies))
    tools = FakeTools(look=lambda _: "y" * 3_000_000)
    async with database.core(models=NamedModels({"actor": actor}), tools=tools) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(tool("look")), "1")])
        executions = core.services.executions
        large = (await executions.start(caller, "agent", start_request())).execution.id
        await executions.rest(caller, large)
        small = (await executions.start(caller, "agent", start_request())).execution.id
        await executions.rest(caller, small)
        replays = Replays(core.store.executions)
        held, ended, go = 0, 0, asyncio.Event()

        async def read(execution: str, *, wait: bool = True) -> int:
            nonlocal held, ended
            size, is_held = 0, False
            async with aclosing(replays.entries(caller.workspace_id, execution, START)) as pages:
                async for entries in pages:
                    size += sum(len(repr(entry.event)) for entry in entries)
                    if wait and size > 1_500_000 and not is_held:
                        held, is_held = held + 1, True
                        await go.wait()
            held, ended = held - is_held, ended + 1
            return size

        async with asyncio.timeout(BOUND), AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            tasks = [group.create_task(read(large)) for _ in range(20)]
            while held < most:  # noqa: ASYNC110 - no event says it
                await asyncio.sleep(0)
            assert await read(small, wait=False) > 0
            assert (held, ended) == (most, 1)
            go.set()
        assert len({task.result() for task in tasks}) == 1
