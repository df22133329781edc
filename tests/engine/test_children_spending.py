"""What a tree has spent: the execution, its children, the stream's end and the ledger agree."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.error import Conflict
from outlast.model.execution import TERMINAL, Status
from outlast.model.message import ToolMessage
from outlast.model.usage import Spent, Usage
from outlast.rooms.executions import render
from outlast.rooms.executions.stream import Fold
from outlast.rooms.runs.stream.openai import OpenAIFold
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.page import Page
from tests.support.api import frames
from tests.support.databases import Database
from tests.support.models import USAGE, FakeModel, Reply
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, MakeTeam, Play, Team, agent, heard, make_team

pytestmark = pytest.mark.anyio

AGENTS = (
    agent("lead", tool("look"), agent_tool("middle")),
    agent("middle", agent_tool("worker")),
    agent("worker", tool("pay", approval=True)),
)


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


async def _made(team: MakeTeam, *gates: asyncio.Event) -> Team:
    """A lead that looks and calls; a middle that calls; a worker. Each request uses 15 tokens."""
    numbers = count(1)

    def lead(request: ModelRequest) -> Reply:
        given = heard(request)
        if not given:
            return [call(next(numbers), "look")]
        return [call(next(numbers), "middle", input="x")] if given == ["seen"] else ["Done."]

    def middle(request: ModelRequest) -> Reply:
        return ["Well."] if heard(request) else [call(next(numbers), "worker", input="x")]

    plays: dict[str, Play | FakeModel] = {"lead": lead, "middle": middle}
    plays["worker"] = FakeModel(lambda _: ["Wait ", *gates, "for it."])
    tools = FakeTools(look=lambda _: "seen", middle=CHILD, worker=CHILD)
    return await team(plays, *AGENTS, tools=tools)


async def _spent(world: Team, database: Database, root: str) -> Spent:
    """What is shown of a tree, everywhere the same."""
    view = await world.executions.get(world.caller, root)
    ((charged,),) = database.rows("SELECT coalesce(sum(credits), 0) FROM charges")
    assert view.spent.credits == charged, "the ledger"
    lists = world.core.services.lists
    for pages in (lists.views, lists.whole):
        listed, _ = await pages(world.caller, ExecutionFilter(), Page(100))
        (same,) = [one for one in listed if one.execution.id == root]
        assert same.spent == view.spent
    if view.execution.status in TERMINAL and not view.execution.is_purged:
        assert await _end(world, root) == render.execution(view)
    return view.spent


async def _end(world: Team, root: str) -> dict[str, Any]:
    """The execution of the stream's last frame."""
    log = await world.log(root)
    (_, last) = frames(Fold(root).frames(log))[-1]
    assert last.get("usage", last["execution"]["usage"]) == last["execution"]["usage"]
    found: dict[str, Any] = last["execution"]
    return found


def _times(number: int) -> Usage:
    return Usage(
        number * USAGE.input_tokens,
        number * USAGE.output_tokens,
        number * USAGE.cache_read_tokens,
        number * USAGE.cache_write_tokens,
    )


async def test_usage_and_credits_cover_the_executions_below(
    team: MakeTeam, database: Database
) -> None:
    world = await _made(team)
    root = await world.start()
    await world.until(root)
    spent = await _spent(world, database, root)
    assert spent == Spent(_times(6), 6 * 15 * 1_000_000), "three of its own, two and one below"
    (middle,) = await world.below(root, 1)
    view = await world.executions.get(world.caller, middle.id)
    assert view.spent.usage == _times(3)
    assert view.execution.usage == _times(2), "the row has its own"


async def test_what_a_live_child_has_spent_counts_at_once(
    team: MakeTeam, database: Database
) -> None:
    gate = asyncio.Event()
    world = await _made(team, gate)
    root = await world.start()
    (middle,) = await world.below(root, 1)
    (worker,) = await world.below(middle.id, 1)
    await world.until(worker.id, Status.RUNNING)
    await world.until(middle.id, Status.SUSPENDED)
    await world.until(root, Status.SUSPENDED)
    assert (await _spent(world, database, root)).usage == _times(3)
    gate.set()
    await world.until(root)
    assert (await _spent(world, database, root)).usage == _times(6)


async def test_a_cancel_is_charged_for_what_was_received_below(
    team: MakeTeam, database: Database
) -> None:
    gate = asyncio.Event()
    world = await _made(team, gate)
    root = await world.start()
    (middle,) = await world.below(root, 1)
    (worker,) = await world.below(middle.id, 1)
    await world.until(worker.id, Status.RUNNING)
    await world.until(root, Status.SUSPENDED)
    answer = await world.executions.cancel(world.caller, root)
    row = await world.until(worker.id)
    assert row.usage.estimated
    view = await world.executions.get(world.caller, root)
    assert answer.spent == view.spent, "it waited for those below"
    assert view.spent.usage == _times(3) + row.usage
    assert view.spent.usage.estimated
    ((charged,),) = database.rows("SELECT sum(credits) FROM charges")
    assert view.spent.credits == charged


async def test_a_superseded_child_stays_counted(team: MakeTeam, database: Database) -> None:
    world = await _made(team)
    root = await world.start()
    await world.until(root)
    first, *_ = await world.executions.checkpoints(world.caller, root)
    await world.executions.resume(world.caller, root, first.id)
    await world.until(root)
    spent = await _spent(world, database, root)
    assert spent.usage == _times(3 + 3 + 3), "both children, and what stands of its own"
    assert spent.credits == (6 + 5) * 15 * 1_000_000, "what is superseded is charged"


async def test_a_child_that_has_ended_is_not_run_again_by_itself(
    team: MakeTeam, database: Database
) -> None:
    world = await _made(team)
    root = await world.start()
    await world.until(root)
    before = await _spent(world, database, root)
    (middle,) = await world.below(root, 1)
    checkpoints = await world.executions.checkpoints(world.caller, middle.id)
    for checkpoint in (None, *(one.id for one in checkpoints)):
        with pytest.raises(Conflict, match="has its result"):
            await world.executions.resume(world.caller, middle.id, checkpoint)
    assert (await world.get(middle.id)).status is Status.COMPLETED
    assert await _spent(world, database, root) == before


async def test_what_a_live_child_has_spent_before_it_was_rolled_back_is_charged(
    team: MakeTeam, database: Database
) -> None:
    numbers = count(1)

    def calling(*names: str) -> Play:
        def play(request: ModelRequest) -> Reply:
            done = sum(isinstance(one, ToolMessage) for one in request.messages)
            if done == len(names):
                return ["Done."]
            return [call(next(numbers), names[done], input="x")]

        return play

    world = await team(
        {"lead": calling("middle"), "middle": calling("look", "worker"), "worker": calling("pay")},
        agent("lead", agent_tool("middle")),
        agent("middle", tool("look"), agent_tool("worker")),
        AGENTS[2],
        tools=FakeTools(look=lambda _: "seen", middle=CHILD, worker=CHILD),
    )
    root = await world.start()
    (middle,) = await world.below(root, 1)
    (worker,) = await world.below(middle.id, 1)
    await world.until(worker.id, Status.SUSPENDED)
    assert (await _spent(world, database, root)).credits == 4 * 15 * 1_000_000
    await world.executions.pause(world.caller, middle.id)
    _, looked, *_ = await world.executions.checkpoints(world.caller, middle.id)
    await world.executions.resume(world.caller, middle.id, looked.id)
    _, again = await world.below(middle.id, 2)
    await world.until(again.id, Status.SUSPENDED)
    spent = await _spent(world, database, root)
    assert spent.credits == (4 + 2) * 15 * 1_000_000, "what is superseded is charged"
    assert (await world.get(worker.id)).status is Status.CANCELLED


@pytest.mark.parametrize("each", [False, True], ids=["with what is below", "one by one"])
async def test_a_deleted_child_leaves_what_it_has_spent(
    team: MakeTeam, database: Database, *, each: bool
) -> None:
    world = await _made(team)
    root = await world.start()
    await world.until(root)
    before = await _spent(world, database, root)
    (middle,) = await world.below(root, 1)
    (worker,) = await world.below(middle.id, 1)
    for one in (worker, middle) if each else (middle,):
        await world.executions.delete(world.caller, one.id)
        assert await _spent(world, database, root) == before


async def test_a_purge_keeps_the_figures(team: MakeTeam, database: Database) -> None:
    world = await _made(team)
    root = await world.start()
    ended = await world.until(root)
    before = await _spent(world, database, root)
    await world.core.services.conversations.delete(world.caller, ended.conversation_id)
    assert (await world.get(root)).is_purged
    assert await _spent(world, database, root) == before


async def test_the_last_chunk_of_the_format_openai_covers_the_executions_below(
    team: MakeTeam,
) -> None:
    world = await _made(team)
    root = await world.start()
    await world.until(root)
    fold = OpenAIFold(root)
    chunks = b"".join(
        part
        for number, one in enumerate(await world.log(root))
        for part in fold.frames(one, number)
    )
    total = _times(6)
    assert b'"prompt_tokens":%d' % total.input_tokens in chunks
    assert b'"completion_tokens":%d' % total.output_tokens in chunks
