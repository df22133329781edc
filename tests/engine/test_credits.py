"""Credits: each recorded step is charged once, with the step, whatever becomes of it."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from outlast import Context
from outlast.agents import define
from outlast.agents.code import CodeFunctions
from outlast.agents.port import ModelRequest, ToolContext
from outlast.model.agent import Effect, ToolSpec
from outlast.model.error import ModelUnavailable, ToolFailed
from outlast.model.event import ExecutionPaused, ModelFinished, ToolFinished
from outlast.model.execution import BrowserUse, Budget, Execution, Status
from outlast.model.price import NANO, ModelPrice, Prices
from outlast.services.approvals import Decision
from outlast.testing import NamedModels, owner
from tests.engine.test_checkpoints import at_step, get, paused_now, resume
from tests.support.databases import Database
from tests.support.engine import EngineHarness, MakeEngine, start_request
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

PRICES = Prices({"actor": ModelPrice(7, 11, 2, 3)}, {"look": 5 * NANO, "pay": NANO // 4})
MODEL = 6 * 7 + 3 * 2 + 1 * 3 + 5 * 11
"""What an answer of the actor costs: 10 tokens in, 3 of them from a cache and 1 to it, 5 out."""
LOOK, PAY = 5 * NANO, NANO // 4


def charges(database: Database) -> list[tuple[Any, ...]]:
    """(step, kind, name, tokens in, tokens out, credits), in the order of the steps."""
    return database.rows(
        "SELECT step, kind, name, input_tokens, output_tokens, credits FROM charges "
        "ORDER BY step IS NULL, step"
    )


async def row_of(server: EngineHarness, execution_id: str) -> Execution:
    """The row, whose sum is that of the ledger and of the log."""
    row = (await get(server, execution_id)).execution
    total = 0
    for entry in await server.executions.log(server.caller, execution_id):
        match entry.event:
            case ModelFinished() | ExecutionPaused():
                total += entry.event.charged
            case ToolFinished():
                total += entry.event.credits
            case _:
                pass
    assert row.credits == total
    return row


async def test_each_step_is_charged_at_its_own_price(
    make_engine: MakeEngine, database: Database
) -> None:
    replies = by_turn([call(1, "look"), call(2, "free")], ["Done."])
    agent, tools = spec(tool("look"), tool("free")), FakeTools(look=lambda _: 1, free=lambda _: 2)
    server = await make_engine(FakeModel(replies), agent, tools, prices=PRICES)
    execution_id = (await server.run()).execution.id
    assert (await row_of(server, execution_id)).credits == 2 * MODEL + LOOK
    answer = ("model", "actor-1", 10, 5, MODEL)
    assert charges(database) == [(1, *answer), (2, "tool", "look", 0, 0, LOOK), (4, *answer)]
    (kept,) = database.rows(
        "SELECT count(*) FROM charges c JOIN steps s ON s.execution_id = c.execution_id "
        "AND s.id = c.id AND s.number = c.step JOIN executions e ON e.id = c.execution_id "
        "AND e.workspace_id = c.workspace_id"
    )
    assert kept == (3,)


async def test_a_model_may_be_priced_by_the_name_that_it_answers_with(
    make_engine: MakeEngine,
) -> None:
    prices = Prices({"actor-1": ModelPrice(1, 1, 1, 1)})
    server = await make_engine(FakeModel(by_turn(["Hello"])), prices=prices)
    assert (await server.run()).execution.credits == 15


async def test_a_free_model_is_charged_nothing_for_its_tokens_and_a_free_tool_has_no_charge(
    make_engine: MakeEngine, database: Database
) -> None:
    server = await make_engine(
        FakeModel(by_turn([call(1, "look")], ["Hello"])),
        spec(tool("look")),
        FakeTools(look=lambda _: 1),
        prices=Prices({"actor": ModelPrice(0, 0, 0, 0)}),
    )
    execution_id = (await server.run()).execution.id
    assert (await row_of(server, execution_id)).credits == 0
    assert charges(database) == [
        (1, "model", "actor-1", 10, 5, 0),
        (3, "model", "actor-1", 10, 5, 0),
    ]


async def test_a_roll_back_keeps_every_charge_and_charges_the_work_again(
    make_engine: MakeEngine, database: Database
) -> None:
    replies = by_turn([call(1, "look")], [call(2, "look")], ["Done."])
    server = await make_engine(
        FakeModel(replies), spec(tool("look")), FakeTools(look=lambda _: 1), prices=PRICES
    )
    execution_id = (await server.run()).execution.id
    once = 3 * MODEL + 2 * LOOK
    before = charges(database)
    await resume(server, execution_id, await at_step(server, execution_id, 2))
    assert (await row_of(server, execution_id)).credits == once + 2 * MODEL + LOOK
    assert charges(database)[: len(before)] == before
    assert sum(row[-1] for row in charges(database)) == once + 2 * MODEL + LOOK


async def test_a_request_that_a_pause_has_closed_is_charged_by_itself(
    make_engine: MakeEngine, database: Database
) -> None:
    server, execution_id = await paused_now(make_engine, prices=PRICES)
    row = await row_of(server, execution_id)
    *_, (step, kind, name, tokens_in, tokens_out, cost) = charges(database)
    assert (step, kind, name) == (None, "model", "actor")
    assert row.superseded_tokens == tokens_in + tokens_out > 0
    assert cost == tokens_in * 7 + tokens_out * 11
    assert row.credits == MODEL + LOOK + cost
    end = (await resume(server, execution_id)).execution
    assert end.credits == row.credits + MODEL


async def test_a_denied_call_costs_nothing_and_an_approved_one_its_price(
    make_engine: MakeEngine, database: Database
) -> None:
    pay = tool("pay", Effect.DESTRUCTIVE, approval=True)
    replies = by_turn([call(1, "pay"), call(2, "pay")], ["Done."])
    server = await make_engine(
        FakeModel(replies), spec(pay), FakeTools(pay=lambda _: 1), prices=PRICES
    )
    execution_id = (await server.run()).execution.id
    for number, approved in ((1, True), (2, False)):
        await server.core.services.approvals.decide(
            server.caller, execution_id, call(number, "pay").id, Decision(approved=approved)
        )
    view = await server.rest(execution_id)
    assert view.execution.status is Status.COMPLETED
    assert (await row_of(server, execution_id)).credits == 2 * MODEL + PAY
    assert [row[0] for row in charges(database)] == [1, 2, 4]


async def test_a_call_that_reaches_no_tool_costs_nothing_and_one_that_fails_its_price(
    make_engine: MakeEngine, database: Database
) -> None:
    unreadable = replace(call(2, "look"), invalid="{")
    replies = by_turn([call(1, "pay"), unreadable, call(3, "look")], ["Done."])
    tools = FakeTools(look=lambda _: ToolFailed("blind"))
    server = await make_engine(FakeModel(replies), spec(tool("look")), tools, prices=PRICES)
    execution_id = (await server.run()).execution.id
    assert (await row_of(server, execution_id)).credits == 2 * MODEL + LOOK
    assert [row[0] for row in charges(database)] == [1, 4, 5]


async def test_a_cancelled_request_is_charged_for_what_it_has_shown(
    make_engine: MakeEngine, database: Database
) -> None:
    model = FakeModel(by_turn(["Partial", asyncio.Event()]))
    server = await make_engine(model, prices=PRICES)
    execution_id = await server.start()
    async with asyncio.timeout(BOUND):
        await model.spoke.wait()
    view = await server.executions.cancel(server.caller, execution_id)
    usage = view.execution.usage
    assert (await row_of(server, execution_id)).credits > 0
    assert charges(database) == [
        (
            1,
            "model",
            "actor",
            usage.input_tokens,
            usage.output_tokens,
            usage.input_tokens * 7 + usage.output_tokens * 11,
        )
    ]


async def test_a_request_that_is_made_again_is_charged_once(
    make_engine: MakeEngine, database: Database
) -> None:
    replies: Iterator[Reply] = iter([["Hal", ModelUnavailable("gone")], ["Hello"]])
    server = await make_engine(FakeModel(lambda _: next(replies)), prices=PRICES)
    slept = asyncio.ensure_future(server.clock.sleeper())
    execution_id = await server.start()
    await asyncio.wait_for(slept, BOUND)
    server.clock.advance(0.5)
    await server.rest(execution_id)
    assert (await row_of(server, execution_id)).credits == MODEL
    assert len(charges(database)) == 1


async def test_a_budget_of_credits_goes_by_prices_and_says_so(make_engine: MakeEngine) -> None:
    prices = Prices({"actor": ModelPrice(0, NANO // 10, 0, 0)})
    server = await make_engine(FakeModel(by_turn(["Hello"])), prices=prices)
    poor = (await server.run(budget=Budget(max_credits=0.4))).execution
    assert server.model.requests[0].settings["max_tokens"] == 4
    assert poor.error is not None
    assert poor.error.code == "budget_exceeded"
    assert poor.error.message == "The budget of 0.4 credits is spent (0.5 used)."
    rich = (await server.run(budget=Budget(max_credits=0.5))).execution
    assert rich.status is Status.COMPLETED


async def test_a_tool_spends_a_budget_of_credits_too(make_engine: MakeEngine) -> None:
    replies = by_turn(["Let me look. ", call(1, "look")], ["Done."])
    tools = FakeTools(look=lambda _: 1)
    server = await make_engine(FakeModel(replies), spec(tool("look")), tools, prices=PRICES)
    exact = (MODEL + LOOK) / NANO
    for most, runs in ((exact - 1 / NANO, 0), (exact, 1)):
        execution = (await server.run(budget=Budget(max_credits=most))).execution
        assert execution.error is not None
        assert execution.error.code == "budget_exceeded"
        assert ("none was begun" in execution.error.message) is not bool(runs)
        assert (execution.output, tools.calls.total()) == ("Let me look. ", runs)
        assert execution.credits == MODEL + LOOK * runs


async def test_a_model_whose_answers_are_free_is_bounded_by_no_budget_of_credits(
    make_engine: MakeEngine,
) -> None:
    prices = Prices({"actor": ModelPrice(1, 0, 1, 1)})
    server = await make_engine(FakeModel(by_turn(["Hello"])), prices=prices)
    execution = (await server.run(budget=Budget(max_credits=1))).execution
    assert execution.status is Status.COMPLETED
    assert "max_tokens" not in server.model.requests[0].settings


async def test_charges_outlast_their_execution(make_engine: MakeEngine, database: Database) -> None:
    server = await make_engine(FakeModel(by_turn(["Hello"])), prices=PRICES)
    purged = (await server.run()).execution
    await server.core.services.conversations.delete(server.caller, purged.conversation_id)
    assert (await get(server, purged.id)).execution.credits == MODEL
    deleted = (await server.run()).execution
    await server.executions.delete(server.caller, deleted.id)
    assert sum(row[-1] for row in charges(database)) == 2 * MODEL


async def test_what_a_code_agent_asks_costs_the_price_of_the_model_that_it_asks(
    database: Database,
) -> None:
    async def both(ctx: Context, given: str) -> str:
        await ctx.model(given)
        await ctx.tool("look")
        return (await ctx.model(given, model="other")).text

    found = define.agent(model="actor", name="agent")(both).spec
    code = CodeFunctions({str(found.code): both})
    prices = Prices({"actor": ModelPrice(1, 1, 1, 1), "other": ModelPrice(100, 100, 100, 100)})
    agent = replace(found, tools=(tool("look"),))
    waiting = FakeModel(by_turn(["Hello", asyncio.Event()]))
    models = NamedModels({"actor": FakeModel(by_turn(["Hello"])), "other": waiting})
    tools = FakeTools(look=lambda _: 1)
    async with database.core(models=models, tools=tools, prices=prices, code=code) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        async with asyncio.timeout(BOUND):
            await waiting.spoke.wait()
            view = await core.services.executions.cancel(caller, started.execution.id)
    assert view.execution.status is Status.CANCELLED
    costs = [(step, name, cost) for step, _, name, _, _, cost in charges(database)]
    used = view.execution.usage.total_tokens - 15
    assert costs == [(1, "actor-1", 15), (4, "other", 100 * used)]
    assert view.execution.credits == 15 + 100 * used


class _Page:
    """An open browser."""

    async def state(self) -> None:
        return None

    async def close(self) -> None:
        """It is closed."""


class _Browsing(FakeTools):
    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        if context.browser is not None:
            context.browser.opened(_Page())
        return await super().call(spec, arguments, context)


async def test_each_second_of_a_browser_is_charged_once_with_the_next_step(
    make_engine: MakeEngine, database: Database
) -> None:
    play = by_turn([call(1, "browse")], [call(2, "pay")], ["Done."])

    def reply(request: ModelRequest) -> Reply:
        server.clock.advance(4)
        return play(request)

    agent = spec(tool("browse", other={"browser": {}}), tool("pay", approval=True))
    tools = _Browsing(browse=lambda _: server.clock.advance(2.5), pay=lambda _: "Paid.")
    prices = replace(PRICES, tools={"pay": PAY, "browserSeconds": LOOK})
    server = await make_engine(FakeModel(reply), agent, tools, prices=prices)
    stopped = await server.run()
    assert (stopped.execution.status, stopped.execution.browser) == (
        Status.SUSPENDED,
        BrowserUse(1, 6500, None, 6),
    )
    server.clock.advance(100)
    await server.core.services.approvals.decide(
        server.caller, stopped.execution.id, call(2, "").id, Decision(approved=True)
    )
    ended = await row_of(server, (await server.rest(stopped.execution.id)).execution.id)
    assert [(step, cost) for step, *_, cost in charges(database)] == [
        (1, MODEL),
        (2, 2 * LOOK),
        (3, MODEL + 4 * LOOK),
        (4, PAY),
        (5, MODEL),
    ]
    assert (ended.status, ended.browser) == (Status.COMPLETED, BrowserUse(1, 6500, None, 6))
