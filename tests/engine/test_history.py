"""A conversation's history is read once, and never older than the rows that it came from."""

from dataclasses import replace
from typing import Any

import pytest

from outlast.engine.segment.history import Histories
from outlast.model.execution import Status
from outlast.model.message import UserMessage
from outlast.model.wait import Decision
from outlast.store.conversations.store import ConversationStore
from outlast.store.conversations.turns import History
from outlast.store.driver import Driver
from outlast.store.store import Store
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.models import FakeModel
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = pytest.mark.anyio


class Counting(ConversationStore):
    """Knows which turns were read, as (since, before)."""

    read: list[tuple[int, int | None]]

    async def turns(
        self, workspace_id: str, conversation_id: str, before: int | None = None, since: int = 1
    ) -> tuple[History, ...]:
        self.read = [*getattr(self, "read", []), (since, before)]
        return await super().turns(workspace_id, conversation_id, before, since)


def counting(driver: Driver) -> Store:
    """Return a store that counts its reads of turns."""
    return replace(Store.over(driver), conversations=Counting(driver))


def play(request: Any) -> Any:
    """Ask for a payment where the newest user message says so; else echo it."""
    last = request.messages[-1]
    if isinstance(last, UserMessage):
        return [call(len(request.messages), "pay")] if last.text == "pay" else [f"({last.text})"]
    return ["paid"]


async def made(make_engine: MakeEngine) -> EngineHarness:
    agent = spec(tool("pay", approval=True))
    return await make_engine(FakeModel(play), agent, FakeTools(pay=lambda _: 1), store=counting)


def heard(server: EngineHarness) -> list[str]:
    """What the model last read of the earlier turns."""
    messages = server.model.requests[-1].messages
    said = [m.text for m in messages if hasattr(m, "text")]
    return said[: len(said) - 1] if isinstance(messages[-1], UserMessage) else said


async def decide(server: EngineHarness, execution_id: str) -> None:
    [question] = [
        a
        for a in await server.core.store.waits.of(server.caller.workspace_id, execution_id)
        if a.is_open
    ]
    await server.core.services.approvals.decide(
        server.caller, execution_id, question.tool_call_id, Decision(approved=True)
    )
    assert (await server.rest(execution_id)).execution.status is Status.COMPLETED


async def test_a_turn_that_rests_and_goes_on_reads_the_history_once(
    make_engine: MakeEngine,
) -> None:
    server = await made(make_engine)
    first = (await server.run("one")).execution
    await server.run("two", conversation_id=first.conversation_id)
    third = (await server.run("pay", conversation_id=first.conversation_id)).execution
    assert third.status is Status.SUSPENDED
    await decide(server, third.id)
    assert heard(server)[:4] == ["one", "(one)", "two", "(two)"]
    store = server.core.store.conversations
    assert isinstance(store, Counting)
    assert store.read == [(1, 2), (2, 3)]  # each turn once, for all that came behind it


async def test_an_earlier_turn_that_was_deleted_meanwhile_is_not_heard(
    make_engine: MakeEngine,
) -> None:
    server = await made(make_engine)
    first = (await server.run("one")).execution
    await server.run("two", conversation_id=first.conversation_id)
    third = (await server.run("pay", conversation_id=first.conversation_id)).execution
    await server.core.store.executions.delete(server.caller.workspace_id, first.id)
    await decide(server, third.id)
    assert heard(server)[:3] == ["two", "(two)", "pay"]


async def test_an_earlier_turn_that_was_rolled_back_is_heard_as_it_is_now(
    make_engine: MakeEngine,
) -> None:
    replies: Any = iter([[call(1, "pay")], ["first"], ["second"], ["again"], ["last"]])
    model = FakeModel(lambda _: next(replies))
    server = await make_engine(model, spec(tool("pay")), FakeTools(pay=lambda _: 1), store=counting)
    first = (await server.run("one")).execution
    await server.run("two", conversation_id=first.conversation_id)
    assert heard(server) == ["one", "", "first"]
    found = await server.core.store.checkpoints.of(server.caller.workspace_id, first.id)
    await server.executions.resume(server.caller, first.id, found[1].id)
    assert (await server.rest(first.id)).execution.output == "again"
    await server.run("three", conversation_id=first.conversation_id)
    assert heard(server) == ["one", "", "again", "two", "second"]


@pytest.mark.parametrize("most", [0, 40, 1000])
async def test_what_does_not_fit_is_read_again(make_engine: MakeEngine, most: int) -> None:
    server = await made(make_engine)
    first = (await server.run("one")).execution
    await server.run("x" * 30, conversation_id=first.conversation_id)
    third = (await server.run("three", conversation_id=first.conversation_id)).execution
    histories = Histories(server.core.store.conversations, most)
    expected = ["one", "(one)", "x" * 30, f"({'x' * 30})"]
    for _ in range(3):
        found = await histories.of(third)
        assert [m.text for m in found if hasattr(m, "text")] == expected
