"""Delete: an execution ends, and nothing of it is left."""

import asyncio

import pytest

from outlast.model.error import ConversationNotFound, ExecutionNotFound
from tests.engine.test_checkpoints import get
from tests.support.engine import MakeEngine
from tests.support.models import FakeModel
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


async def test_a_running_execution_is_terminated_and_deleted_with_all_of_it(
    make_engine: MakeEngine,
) -> None:
    model = FakeModel(lambda _: ["half", asyncio.Event()])
    server = await make_engine(model)
    execution_id = await server.start()
    await asyncio.wait_for(model.spoke.wait(), BOUND)
    conversation = (await get(server, execution_id)).execution.conversation_id
    await server.executions.delete(server.caller, execution_id)
    assert model.open == 0
    with pytest.raises(ExecutionNotFound):
        await get(server, execution_id)
    with pytest.raises(ConversationNotFound):
        await server.core.services.conversations.get(server.caller, conversation)
    with pytest.raises(ExecutionNotFound):
        await server.executions.delete(server.caller, execution_id)


async def test_deleting_one_turn_lets_the_next_begin_and_takes_its_words_away(
    make_engine: MakeEngine,
) -> None:
    gate = asyncio.Event()
    model = FakeModel(lambda r: ["first", gate] if len(r.messages) == 1 else [str(len(r.messages))])
    server = await make_engine(model)
    first = await server.start("one")
    await asyncio.wait_for(model.spoke.wait(), BOUND)
    conversation = (await get(server, first)).execution.conversation_id
    second = await server.start("two", conversation_id=conversation)
    await server.executions.delete(server.caller, first)
    model._play = lambda r: [str(len(r.messages))]
    await server.rest(second)
    turns = (await server.core.services.conversations.get(server.caller, conversation)).turns
    assert [turn.execution.id for turn in turns] == [second]
