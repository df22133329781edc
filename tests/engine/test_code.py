"""Code agents: a function is the loop; it streams, waits, starts again and never pays twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import pytest

from outlast import Context, ToolFailed, ToolMessage, UserMessage
from outlast.agents.code import CodeFunction, CodeFunctions
from outlast.agents.define import agent
from outlast.agents.port import ModelRequest
from outlast.model.agent import AgentSpec, Effect, ToolSpec
from outlast.model.error import Misconfigured, ModelRejected
from outlast.model.event import DataEmitted, ModelFinished, TextAdded, ToolFinished, ToolStarted
from outlast.model.execution import Budget, Failure, Status
from outlast.model.wait import Decision, WaitKind
from outlast.rooms.executions.stream import Fold
from outlast.rooms.runs.stream.frames import NumberedFrames
from outlast.rooms.runs.stream.openai import OpenAIFold
from outlast.rooms.runs.stream.ui import UiFold
from outlast.services.executions import ExecutionView
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import EngineHarness, pause_signalled
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
LOOK, PAY = tool("look"), tool("pay", Effect.DESTRUCTIVE, approval=True)


def made(function: CodeFunction, *tools: ToolSpec) -> AgentSpec:
    found = agent(model="actor", name="agent", instructions="Be kind.")(function)
    return replace(found.spec, tools=tools)


@pytest.fixture
async def make_engine(database: Database) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:

        async def make(
            function: CodeFunction,
            model: Any = None,
            fake_tools: FakeTools | None = None,
            *tools: ToolSpec,
        ) -> EngineHarness:
            found, clock = made(function, *tools), FakeClock()
            core = await stack.enter_async_context(
                database.core(
                    models=NamedModels({"actor": model or FakeModel(by_turn(["Hello."]))}),
                    tools=fake_tools or FakeTools(),
                    clock=clock,
                    code=CodeFunctions({str(found.code): function}),
                )
            )
            caller = await owner(core)
            await core.services.agents.put(caller.workspace_id, [(found, "1")])
            return EngineHarness(core, caller, model, clock)

        yield make


def prompt(request: ModelRequest) -> str:
    last = request.messages[-1]
    assert isinstance(last, UserMessage)
    return last.text


def error_of(view: ExecutionView) -> Failure:
    assert view.execution.error is not None
    return view.execution.error


async def loop(ctx: Context, given: str) -> str:
    """The loop that everybody writes."""
    said: list[Any] = [*ctx.history, UserMessage(given)]
    while True:
        answer = await ctx.model(said, tools=ctx.tools)
        if not answer.tool_calls:
            return answer.text
        said.append(answer)
        for wanted in answer.tool_calls:
            try:
                result, is_error = await ctx.tool(wanted.name, **wanted.parameters), False
            except ToolFailed as error:
                result, is_error = error.message, True
            said.append(ToolMessage(wanted.id, wanted.name, result, is_error))


async def test_a_hand_written_loop_does_what_the_servers_own_does(make_engine: Any) -> None:
    model = FakeModel(by_turn(["Let me.", call(1, "look", at=2)], ["Seen: ", "blue."]))
    server = await make_engine(loop, model, FakeTools(look=lambda a: {"sky": a["at"]}), LOOK)
    view = await server.run()
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Seen: blue.")
    assert view.execution.usage.total_tokens == 30
    assert view.execution.final_model == "actor-1"
    events = [entry.event for entry in await server.log(view.execution.id)]
    text = "".join("".join(e.pieces) for e in events if isinstance(e, TextAdded))
    assert text == "Let me.Seen: blue."
    assert [type(e) for e in events if isinstance(e, ToolStarted | ToolFinished)] == [
        ToolStarted,
        ToolFinished,
    ]
    result = model.requests[1].messages[-1]
    assert isinstance(result, ToolMessage)
    assert result.content == {"sky": 2}
    assert model.requests[0].instructions == "Be kind."
    again = await server.run("And now?", conversation_id=view.execution.conversation_id)
    assert again.execution.output == "Seen: blue."
    history = [type(m).__name__ for m in model.requests[2].messages]
    assert history == [
        "UserMessage",
        "AssistantMessage",
        "AssistantMessage",
        "ToolMessage",
        "AssistantMessage",
        "UserMessage",
    ]


async def test_what_the_function_returns_is_said_in_the_stream_and_kept(make_engine: Any) -> None:
    async def counted(ctx: Context, given: str) -> Any:
        await ctx.emit("progress", {"done": 1})
        return {"letters": len(given), "id": ctx.execution_id[:5]}

    server = await make_engine(counted)
    view = await server.run("four")
    assert view.execution.output == '{"letters":4,"id":"exec_"}'
    events = [entry.event for entry in await server.log(view.execution.id)]
    assert DataEmitted(1, "progress", {"done": 1}) in events
    assert TextAdded(1, 0, ('{"letters":4,"id":"exec_"}',)) in events


async def test_a_function_that_raises_fails_its_execution(make_engine: Any) -> None:
    async def broken(ctx: Context, given: str) -> str:
        await ctx.model("Hi")
        raise ValueError(f"no {given}")

    server = await make_engine(broken)
    view = await server.run("luck")
    assert view.execution.status is Status.FAILED
    assert error_of(view).code == "code_failed"
    assert error_of(view).message == "ValueError: no luck"


async def test_a_worker_without_the_function_says_so(database: Database) -> None:
    found = replace(made(loop), code="no_such_module:run")
    async with database.core(
        models=NamedModels({}), tools=FakeTools(), clock=FakeClock(), code=CodeFunctions()
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(found, "1")])
        view = await EngineHarness(core, caller, None, FakeClock()).run()
    assert error_of(view).code == "misconfigured"
    assert "This worker has no function for the agent" in error_of(view).message


async def test_a_models_error_is_raised_in_the_function_and_its_text_is_void(
    make_engine: Any,
) -> None:
    async def patient(ctx: Context, _: str) -> str:
        try:
            return (await ctx.model("one")).text
        except ModelRejected:
            return (await ctx.model("two")).text

    model = FakeModel(
        lambda request: ["Half", ModelRejected("no")] if prompt(request) == "one" else ["Whole"]
    )
    server = await make_engine(patient, model)
    view = await server.run()
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Whole")


async def test_the_budget_ends_a_function_that_does_not_stop(make_engine: Any) -> None:
    async def endless(ctx: Context, _: str) -> str:
        while True:
            with suppress(Exception):  # it hides what it can
                await ctx.model("again")

    server = await make_engine(endless)
    view = await server.run(budget=Budget(max_tokens=40))
    assert error_of(view).code == "budget_exceeded"
    assert view.execution.usage.total_tokens == 45


async def saver(ctx: Context, given: str) -> str:
    """Two questions with a checkpoint between them, then a payment."""
    if "first" not in ctx.state:
        await ctx.checkpoint({"first": (await ctx.model("1")).text}, "one")
    second = await ctx.model(f"2 {ctx.state['first']} {given}")
    paid = await ctx.tool("pay", amount=5)
    await ctx.emit("paid", paid)
    return f"{second.text} {paid}"


def numbers() -> FakeModel:
    return FakeModel(lambda request: [f"<{prompt(request)}>"])


async def test_an_approval_starts_the_function_again_where_it_was(make_engine: Any) -> None:
    model, fake_tools = numbers(), FakeTools(pay=lambda a: f"paid {a['amount']}")
    server = await make_engine(saver, model, fake_tools, PAY)
    execution_id = await server.start("x")
    view = await server.rest(execution_id)
    assert view.execution.status is Status.SUSPENDED
    assert view.execution.state == {"first": "<1>"}
    (approval,) = view.approvals
    decision = Decision(approved=True, parameters={"amount": 3})
    await server.core.services.approvals.decide(
        server.caller, execution_id, approval.tool_call_id, decision
    )
    view = await server.rest(execution_id)
    assert view.execution.output == "<2 <1> x> paid 3"
    assert len(model.requests) == 2
    assert view.execution.usage.total_tokens == 30
    assert sum(fake_tools.calls.values()) == 1
    emitted = [e.event for e in await server.log(execution_id) if isinstance(e.event, DataEmitted)]
    assert [e.data for e in emitted] == ["paid 3"]


async def test_a_denied_call_is_an_error_in_the_function(make_engine: Any) -> None:
    async def careful(ctx: Context, _: str) -> str:
        try:
            return str(await ctx.tool("pay", amount=5))
        except ToolFailed as error:
            return error.message

    server = await make_engine(careful, None, FakeTools(pay=lambda _: "paid"), PAY)
    execution_id = await server.start()
    (approval,) = (await server.rest(execution_id)).approvals
    await server.core.services.approvals.decide(
        server.caller, execution_id, approval.tool_call_id, Decision(approved=False, reason="no")
    )
    assert "Reason: no" in (await server.rest(execution_id)).execution.output


async def test_pause_takes_effect_at_the_next_call_and_resume_asks_nothing_twice(
    make_engine: Any,
) -> None:
    gate, ended = asyncio.Event(), asyncio.Event()

    async def slow(ctx: Context, _: str) -> str:
        try:
            one = await ctx.model("1")
            await gate.wait()
            return one.text + (await ctx.model("2")).text
        finally:
            ended.set()

    model = numbers()
    server = await make_engine(slow, model)
    execution_id = await server.start()
    async with asyncio.timeout(BOUND):
        await model.spoke.wait()
        signalled = pause_signalled(server.core)
        pausing = asyncio.ensure_future(server.executions.pause(server.caller, execution_id))
        await signalled.wait()
        gate.set()
        assert (await pausing).execution.status is Status.PAUSED
    assert ended.is_set()
    await server.executions.resume(server.caller, execution_id)
    view = await server.rest(execution_id)
    assert (view.execution.output, len(model.requests)) == ("<1><2>", 2)


async def test_roll_back_gives_the_function_the_state_of_that_moment(make_engine: Any) -> None:
    states: list[Any] = []

    async def stepped(ctx: Context, _: str) -> str:
        states.append(dict(ctx.state))
        for number in range(ctx.state.get("done", 0) + 1, 4):
            await ctx.model(str(number))
            await ctx.checkpoint({"done": number}, f"after {number}")
        return "end"

    model = numbers()
    server = await make_engine(stepped, model)
    view = await server.run()
    found = await server.executions.checkpoints(server.caller, view.execution.id)
    chosen = next(c for c in found if c.label == "after 1")
    await server.executions.resume(server.caller, view.execution.id, chosen.id)
    view = await server.rest(view.execution.id)
    assert states == [{}, {"done": 1}]
    assert [prompt(r) for r in model.requests] == ["1", "2", "3", "2", "3"]
    assert (view.execution.output, view.execution.state) == ("end", {"done": 3})
    assert view.execution.usage.total_tokens == 45
    assert view.execution.charged_tokens == 75
    finished = [e.event for e in await server.log(view.execution.id)]
    assert len([e for e in finished if isinstance(e, ModelFinished) and e.model]) == 5


async def test_cancel_closes_the_model_and_the_function_learns_of_it(make_engine: Any) -> None:
    heard: list[str] = []

    async def waiting(ctx: Context, _: str) -> str:
        try:
            return (await ctx.model("wait")).text
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    model = FakeModel(lambda _: ["Half", asyncio.Event()])
    server = await make_engine(waiting, model)
    execution_id = await server.start()
    async with asyncio.timeout(BOUND):
        await model.spoke.wait()
        await server.executions.cancel(server.caller, execution_id)
    view = await server.rest(execution_id)
    assert (view.execution.status, view.execution.output) == (Status.CANCELLED, "Half")
    assert (heard, model.open) == (["cancelled"], 0)


async def test_a_payment_that_is_not_requested_again_is_not_made_anew(make_engine: Any) -> None:
    amounts = iter((5, 6))

    async def fickle(ctx: Context, _: str) -> str:
        await ctx.tool("fee", amount=next(amounts))
        await ctx.tool("pay", amount=1)
        return "done"

    fee, fake_tools = (
        tool("fee", Effect.DESTRUCTIVE),
        FakeTools(fee=lambda _: "x", pay=lambda _: "y"),
    )
    server = await make_engine(fickle, None, fake_tools, fee, PAY)
    execution_id = await server.start()
    (approval,) = (await server.rest(execution_id)).approvals
    assert approval.kind is WaitKind.APPROVAL
    await server.core.services.approvals.decide(
        server.caller, execution_id, approval.tool_call_id, Decision(approved=True)
    )
    view = await server.rest(execution_id)
    assert error_of(view).code == "diverged"
    assert fake_tools.order == ["fee", "pay"]


async def test_what_a_function_emits_is_shown_in_every_format(make_engine: Any) -> None:
    async def telling(ctx: Context, _: str) -> str:
        for name in ("retry", "no name"):
            with pytest.raises(ValueError, match="cannot be emitted"):
                await ctx.emit(name)
        await ctx.emit("note", {"at": 1})
        return "told"

    server = await make_engine(telling)
    view = await server.run()
    log = await server.log(view.execution.id)
    native = Fold(view.execution.id).frames(log)
    assert b'{"type":"custom","name":"note","data":{"at":1}}' in native
    ui = b"".join(NumberedFrames(UiFold(view.execution.id)).add(log))
    assert b'{"type":"data-note","data":{"at":1}}' in ui
    assert ui.index(b"data-note") < ui.index(b"told")
    openai = b"".join(NumberedFrames(OpenAIFold(view.execution.id)).add(log))
    assert rb'"{\"type\":\"data\",\"name\":\"note\",\"data\":{\"at\":1}}"' in openai


async def test_a_wrong_argument_is_raised_where_it_was_given(make_engine: Any) -> None:
    async def clumsy(ctx: Context, _: str) -> str:
        wrongs: list[Any] = [[], {}, {"when": clumsy}]
        for wrong in wrongs:
            with pytest.raises(TypeError):
                await ctx.checkpoint(wrong)
        with pytest.raises(TypeError, match="str is not a message"):
            await ctx.model(["Hi"])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="no tool 'look'"):
            await ctx.model("Hi", tools=["look"])
        with pytest.raises(ToolFailed, match="There is no tool 'look'"):
            await ctx.tool("look")
        return "fine"

    server = await make_engine(clumsy)
    assert (await server.run()).execution.output == "fine"


async def test_a_function_that_takes_the_wrong_things_is_refused() -> None:
    async def alone(ctx: Context) -> str:
        return ctx.execution_id

    def blocking(ctx: Context, given: str) -> str:
        return given + ctx.execution_id

    for wrong, words in ((alone, "takes the context and the input"), (blocking, "not an async")):
        with pytest.raises(Misconfigured, match=words):
            made(wrong)  # type: ignore[arg-type]
