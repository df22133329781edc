"""What a code agent's function is given the second time is what it was given, in the same order.

Databases keep JSON objects in orders of their own, and a prompt made of one is another prompt in
another order.
"""

from typing import Any

import pytest

from outlast import Context, ToolMessage, UserMessage
from outlast.agents.code import CodeFunction, CodeFunctions
from outlast.agents.port import ModelRequest
from outlast.model.agent import Effect
from outlast.model.execution import Status
from outlast.model.wait import Decision
from outlast.testing import FakeClock, NamedModels, owner
from tests.engine.test_code import made
from tests.support.databases import Database
from tests.support.engine import EngineHarness, start_request
from tests.support.models import FakeModel, Reply
from tests.support.tools import FakeTools, call, tool

pytestmark = pytest.mark.anyio
SEEN = {"zebra": 1, "ant": {"second": 2, "b": [{"yy": 1, "x": 2}]}}
LOOK, PAY = tool("look"), tool("pay", Effect.DESTRUCTIVE, approval=True)


async def by_messages(ctx: Context, given: str) -> str:
    """Says the answer and its result again, as messages."""
    said: list[Any] = [UserMessage(given)]
    while True:
        answer = await ctx.model(said, tools=ctx.tools)
        if not answer.tool_calls:
            return answer.text
        said.append(answer)
        for wanted in answer.tool_calls:
            result = await ctx.tool(wanted.name, **wanted.parameters)
            said.append(ToolMessage(wanted.id, wanted.name, result))


async def by_words(ctx: Context, given: str) -> str:
    """Writes what it has got, and what it keeps, into its prompts."""
    if not ctx.state:
        await ctx.checkpoint({"where": given, "at": {"noon": 12, "one": 13}})
    wanted = (await ctx.model(f"look {ctx.state}")).tool_calls[0]
    seen = await ctx.tool(wanted.name, **wanted.parameters)
    paying = (await ctx.model(f"pay {ctx.state} {wanted.parameters} {seen}")).tool_calls[0]
    paid = await ctx.tool(paying.name, **paying.parameters)
    return (await ctx.model(f"end {ctx.state} {paid}")).text


def by_turn_of_words(request: ModelRequest) -> Reply:
    """Look, pay, speak, whichever way the function asks for it."""
    shown = str(request.messages)
    if "'paid'" in shown or "end " in shown:
        return ["Done."]
    if "'zebra'" in shown:
        return [call(2, "pay", order="tea", by="me")]
    return [call(1, "look", where="here", at="noon")]


@pytest.mark.parametrize("function", [by_messages, by_words])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_function_that_starts_again_asks_the_same_and_pays_once(
    database: Database, function: CodeFunction, restarted: bool
) -> None:
    spec = made(function, LOOK, PAY)
    model = FakeModel(by_turn_of_words)
    tools = FakeTools(look=lambda _: SEEN, pay=lambda _: {"paid": 3, "by": "card"})

    def on(later: int) -> Any:
        return database.core(
            models=NamedModels({"actor": model}),
            tools=tools,
            clock=FakeClock(FakeClock().now() + later),
            code=CodeFunctions({str(spec.code): function}),
        )

    async with on(0) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec, "1")])
        server = EngineHarness(core, caller, model, FakeClock())
        started = await core.services.executions.start(caller, "agent", start_request("tea"))
        view = await server.rest(started.execution.id)
        [waiting] = view.approvals
        if not restarted:
            view = await _approved(server, waiting.execution_id, waiting.tool_call_id)
    if restarted:
        async with on(1000) as core:
            server = EngineHarness(core, caller, model, FakeClock())
            view = await _approved(server, waiting.execution_id, waiting.tool_call_id)
    row = view.execution
    assert (row.status, row.error, row.output) == (Status.COMPLETED, None, "Done.")
    assert len(model.requests) == 3
    assert sorted(tools.order) == ["look", "pay"]


async def _approved(server: EngineHarness, execution_id: str, tool_call_id: str) -> Any:
    await server.core.services.approvals.decide(
        server.caller, execution_id, tool_call_id, Decision(approved=True)
    )
    return await server.rest(execution_id)
