"""The life of an execution, driven through the services on a real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from outlast.app import Core
from outlast.model.agent import AgentSpec, Effect, Limits
from outlast.model.error import (
    Conflict,
    ConversationBusy,
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
    ToolFailed,
)
from outlast.model.event import Entry, StepRetried, TextAdded
from outlast.model.execution import Budget, OnBusy, Status, ToolStep
from outlast.model.message import AssistantMessage, ToolMessage, UserMessage
from outlast.model.workspace import Principal
from outlast.services.executions import ExecutionView
from outlast.testing import FakeClock, NamedModels, core_on, owner
from tests.engine.world import Actor, Bench, Thinker, by_turn, call, spec, tool, wish

pytestmark = pytest.mark.anyio
BOUND = 10.0

World = Callable[..., Awaitable["Server"]]


class Server:
    """A core with one agent, and somebody who uses it."""

    def __init__(self, core: Core, caller: Principal, actor: Any, clock: FakeClock) -> None:
        self.core, self.caller, self.actor, self.clock = core, caller, actor, clock
        self.executions = core.services.executions

    async def run(self, text: str = "Hello", **more: Any) -> ExecutionView:
        async with asyncio.timeout(BOUND):
            return (await self.executions.run(self.caller, "agent", wish(text, **more)))[1]

    async def start(self, text: str = "Hello", **more: Any) -> str:
        started = await self.executions.start(self.caller, "agent", wish(text, **more))
        return started.execution.id

    async def rest(self, execution_id: str) -> ExecutionView:
        async with asyncio.timeout(BOUND):
            return await self.executions.rest(self.caller, execution_id)

    async def log(self, execution_id: str) -> list[Entry]:
        async with asyncio.timeout(BOUND):
            return [
                entry
                async for entries in self.executions.follow(self.caller, execution_id)
                for entry in entries
            ]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:

        async def made(
            actor: Any, agent: AgentSpec | None = None, bench: Bench | None = None, **settings: Any
        ) -> Server:
            clock = FakeClock()
            core = await stack.enter_async_context(
                core_on(
                    tmp_path,
                    models=NamedModels({"actor": actor}),
                    tools=bench or Bench(),
                    clock=clock,
                    drain_seconds=1,
                    **settings,
                )
            )
            caller = await owner(core)
            await core.services.agents.put(caller.workspace_id, [(agent or spec(), "1")])
            return Server(core, caller, actor, clock)

        yield made


async def test_a_run_of_one_model_call_completes_with_its_usage(world: World) -> None:
    server = await world(Actor(by_turn(["Hel", "lo"])))
    execution = (await server.run()).execution
    assert (execution.status, execution.output, execution.steps) == (Status.COMPLETED, "Hello", 1)
    assert (execution.usage.input_tokens, execution.usage.cache_read_tokens) == (10, 3)
    assert execution.final_model == "actor-1"
    assert execution.first_token_ms == 0
    assert server.actor.open == 0
    kinds = [entry.event.kind for entry in await server.log(execution.id)]
    assert kinds == [
        "execution.created",
        "execution.started",
        "text.added",
        "text.added",
        "model.finished",
        "execution.completed",
    ]


async def test_thinking_is_logged_as_a_part_of_its_own(world: World) -> None:
    server = await world(Thinker())
    view = await server.run()
    events = [e.event for e in await server.log(view.execution.id)][2:4]
    assert [(e.kind, getattr(e, "part", None)) for e in events] == [
        ("thinking.added", 0),
        ("text.added", 1),
    ]


async def test_tool_results_go_to_the_model_and_parallel_calls_run_in_parallel(
    world: World,
) -> None:
    meeting = asyncio.Barrier(2)

    async def meet(arguments: dict[str, Any]) -> dict[str, Any]:
        await meeting.wait()
        return {"got": arguments["n"]}

    actor = Actor(by_turn(["Let me see. ", call(1, "meet", n=1), call(2, "meet", n=2)], ["Done"]))
    server = await world(actor, spec(tool("meet")), Bench(meet=meet))
    view = await server.run()
    assert (view.execution.output, view.execution.steps) == ("Done", 4)
    assert view.execution.usage.total_tokens == 30
    results = [s.result for s in view.steps if isinstance(s, ToolStep)]
    assert results == [{"got": 1}, {"got": 2}]
    heard = [m for m in actor.asked[1].messages if isinstance(m, ToolMessage)]
    assert [m.content for m in heard] == [{"got": 1}, {"got": 2}]


async def test_the_tool_choice_holds_for_the_first_step_of_a_turn_only(world: World) -> None:
    actor = Actor(by_turn([call(1, "look")], ["Done"]))
    server = await world(actor, spec(tool("look"), tool_choice="look"), Bench(look=lambda _: 1))
    await server.run()
    assert [request.tool_choice for request in actor.asked] == ["look", "auto"]


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        (call(1, "fails"), "no such order"),
        (call(1, "crashes"), "The tool crashes crashed."),
        (call(1, "unknown"), "There is no tool 'unknown'. Available tools: fails, crashes."),
    ],
)
async def test_a_tools_error_goes_back_to_the_model(
    world: World, wanted: Any, complaint: str
) -> None:
    def crash(_: dict[str, Any]) -> None:
        raise ZeroDivisionError

    bench = Bench(fails=lambda _: ToolFailed("no such order"), crashes=crash)
    actor = Actor(by_turn([wanted], ["Sorry"]))
    server = await world(actor, spec(tool("fails"), tool("crashes")), bench)
    assert (await server.run()).execution.status is Status.COMPLETED
    answer = actor.asked[1].messages[-1]
    assert isinstance(answer, ToolMessage)
    assert (answer.content, answer.is_error) == (complaint, True)


async def test_a_tool_that_needs_approval_suspends_and_leaves_nothing_in_memory(
    world: World,
) -> None:
    actor = Actor(by_turn([call(1, "look"), call(2, "refund", amount=5)], ["Done"]))
    bench = Bench(look=lambda _: "seen", refund=lambda _: "refunded")
    server = await world(actor, spec(tool("look"), tool("refund", approval=True)), bench)
    view = await server.run()
    assert view.execution.status is Status.SUSPENDED
    assert [(a.name, a.kind, a.parameters) for a in view.approvals] == [
        ("refund", "approval", {"amount": 5})
    ]
    assert bench.order == ["look"]
    assert server.core.engine.running == 0
    cancelled = await server.executions.cancel(server.caller, view.execution.id)
    assert cancelled.execution.status is Status.CANCELLED


async def test_cancel_closes_the_model_call_and_keeps_and_charges_what_it_wrote(
    world: World,
) -> None:
    actor = Actor(by_turn(["Once upon ", asyncio.Event()]))
    server = await world(actor)
    execution_id = await server.start()
    await asyncio.wait_for(actor.spoke.wait(), BOUND)
    view = await server.executions.cancel(server.caller, execution_id)
    assert (view.execution.status, view.execution.output) == (Status.CANCELLED, "Once upon ")
    assert actor.open == 0
    assert view.execution.usage.estimated
    assert view.execution.usage.output_tokens == 3
    with pytest.raises(Conflict):
        await server.executions.cancel(server.caller, execution_id)


async def test_cancel_stops_a_running_tool(world: World) -> None:
    started = asyncio.Event()

    async def slow(_: dict[str, Any]) -> None:
        started.set()
        await asyncio.Event().wait()

    server = await world(Actor(by_turn([call(1, "slow")])), spec(tool("slow")), Bench(slow=slow))
    execution_id = await server.start()
    await asyncio.wait_for(started.wait(), BOUND)
    view = await server.executions.cancel(server.caller, execution_id)
    assert view.execution.status is Status.CANCELLED
    assert view.execution.usage.total_tokens == 15


async def test_a_cancelled_turn_leaves_a_history_that_models_accept(world: World) -> None:
    started = asyncio.Event()

    async def slow(_: dict[str, Any]) -> None:
        started.set()
        await asyncio.Event().wait()

    actor = Actor(lambda r: ["Hi"] if len(r.messages) > 1 else [call(1, "slow")])
    server = await world(actor, spec(tool("slow")), Bench(slow=slow))
    execution_id = await server.start("first")
    await asyncio.wait_for(started.wait(), BOUND)
    view = await server.executions.cancel(server.caller, execution_id)
    await server.run("second", conversation_id=view.execution.conversation_id)
    kinds = [type(m) for m in actor.asked[-1].messages]
    assert kinds == [UserMessage, AssistantMessage, ToolMessage, UserMessage]


async def test_a_failed_request_is_made_again_after_a_wait_and_its_text_is_void(
    world: World,
) -> None:
    replies = iter([["Hal", ModelUnavailable("gone")], ["Hello"]])
    server = await world(Actor(lambda _: next(replies)))
    slept = asyncio.ensure_future(server.clock.sleeper())
    execution_id = await server.start()
    await asyncio.wait_for(slept, BOUND)
    server.clock.advance(0.5)
    view = await server.rest(execution_id)
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Hello")
    events = [e.event for e in await server.log(execution_id)]
    assert [e for e in events if isinstance(e, StepRetried)] == [StepRetried(1, "gone")]
    texts = [e.pieces[0] for e in events if isinstance(e, TextAdded)]
    assert texts == ["Hal", "Hello"]
    assert view.execution.usage.total_tokens == 15


async def test_the_wait_before_the_next_request_is_the_providers(world: World) -> None:
    replies = iter([[ModelRateLimited("slow down", retry_after=7)], ["Hello"]])
    server = await world(Actor(lambda _: next(replies)))
    slept = asyncio.ensure_future(server.clock.sleeper())
    execution_id = await server.start()
    await asyncio.wait_for(slept, BOUND)
    server.clock.advance(6.9)
    assert (await server.executions.get(server.caller, execution_id)).execution.status == "running"
    server.clock.advance(0.2)
    assert (await server.rest(execution_id)).execution.status is Status.COMPLETED


async def test_a_request_that_was_rejected_fails_the_execution_at_once(world: World) -> None:
    server = await world(Actor(lambda _: ["He", ModelRejected("401: bad key")]))
    execution = (await server.run()).execution
    assert (execution.status, execution.output) == (Status.FAILED, "He")
    assert execution.error is not None
    assert (execution.error.code, execution.error.message) == ("model_rejected", "401: bad key")
    assert len(server.actor.asked) == 1


async def test_an_unforeseen_exception_fails_the_execution_without_a_word_of_it(
    world: World,
) -> None:
    def explode(_: Any) -> Any:
        raise RuntimeError("secret detail")

    execution = (await (await world(Actor(explode))).run()).execution
    assert execution.error is not None
    assert execution.error.code == "internal_error"
    assert "secret" not in execution.error.message


async def test_a_limit_of_steps_ends_a_loop(world: World) -> None:
    actor = Actor(lambda _: ["…", call(len(actor.asked), "look")])
    limits = Limits(max_steps=4)
    server = await world(actor, spec(tool("look"), limits=limits), Bench(look=lambda _: 1))
    execution = (await server.run()).execution
    assert (execution.status, execution.steps, execution.output) == (Status.FAILED, 4, "…")
    assert execution.error is not None
    assert execution.error.code == "limit_exceeded"


async def test_a_budget_of_tokens_bounds_the_answer_and_fails_what_overspends(
    world: World,
) -> None:
    server = await world(Actor(by_turn(["Hello"])))
    view = await server.run(budget=Budget(max_tokens=12))
    assert server.actor.asked[0].settings["max_tokens"] == 12
    assert view.execution.output == "Hello"
    assert view.execution.error is not None
    assert view.execution.error.code == "budget_exceeded"
    assert (await server.run(budget=Budget(max_tokens=16))).execution.status is Status.COMPLETED
    poor = await server.run(budget=Budget(max_credits=0.001))
    assert poor.execution.error is not None
    assert poor.execution.error.code == "budget_exceeded"


async def test_a_limit_of_seconds_ends_a_model_call(world: World) -> None:
    actor = Actor(by_turn(["Well", asyncio.Event()]))
    server = await world(actor, spec(limits=Limits(max_seconds=30)))
    execution_id = await server.start()
    await asyncio.wait_for(actor.spoke.wait(), BOUND)
    watched = asyncio.ensure_future(server.clock.sleeper())
    server.clock.advance(29)
    await asyncio.wait_for(watched, BOUND)
    assert actor.open == 1
    server.clock.advance(2)
    execution = (await server.rest(execution_id)).execution
    assert (execution.status, execution.output, actor.open) == (Status.FAILED, "Well", 0)
    assert execution.error is not None
    assert execution.error.code == "limit_exceeded"


async def test_a_conversation_runs_one_turn_at_a_time_and_remembers(world: World) -> None:
    gate = asyncio.Event()
    actor = Actor(lambda r: [f"{len(r.messages)}", gate])
    server = await world(actor)
    first = await server.start("one", session={"userName": "Sarah"})
    await asyncio.wait_for(actor.spoke.wait(), BOUND)
    conversation = (await server.executions.get(server.caller, first)).execution.conversation_id
    others = [await server.start(f"{n}", conversation_id=conversation) for n in range(3)]
    with pytest.raises(ConversationBusy):
        await server.start("no", conversation_id=conversation, on_busy=OnBusy.REJECT)
    assert server.core.engine.running == 1
    gate.set()
    views = [await server.rest(execution_id) for execution_id in (first, *others)]
    assert [view.execution.output for view in views] == ["1", "3", "5", "7"]
    assert all("userName: Sarah" in request.instructions for request in actor.asked)


async def test_interrupt_cancels_what_is_live_and_runs_next(world: World) -> None:
    actor = Actor(lambda r: ["waiting", asyncio.Event()] if len(r.messages) == 1 else ["now"])
    server = await world(actor)
    first = await server.start("one")
    await asyncio.wait_for(actor.spoke.wait(), BOUND)
    conversation = (await server.executions.get(server.caller, first)).execution.conversation_id
    queued = await server.start("two", conversation_id=conversation)
    view = await server.run("three", conversation_id=conversation, on_busy=OnBusy.INTERRUPT)
    assert view.execution.output == "now"
    for gone in (first, queued):
        assert (await server.rest(gone)).execution.status is Status.CANCELLED


async def test_no_more_run_at_a_time_than_allowed_and_all_get_their_turn(world: World) -> None:
    most = 0

    def play(_: Any) -> list[str]:
        nonlocal most
        most = max(most, server.core.engine.running)
        return ["ok"]

    server = await world(Actor(play), concurrency=3)
    ids = [await server.start() for _ in range(20)]
    for execution_id in ids:
        assert (await server.rest(execution_id)).execution.status is Status.COMPLETED
    assert most <= 3


async def test_draining_ends_a_segment_at_its_next_commit_and_the_next_process_goes_on(
    tmp_path: Path,
) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()

    async def slow(_: dict[str, Any]) -> str:
        reached.set()
        await gate.wait()
        return "slow"

    actor = Actor(by_turn([call(1, "slow")], ["Done"]))
    bench = Bench(slow=slow)
    agent = spec(tool("slow", Effect.DESTRUCTIVE))
    async with core_on(
        tmp_path, models=NamedModels({"actor": actor}), tools=bench, drain_seconds=5
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        started = await core.services.executions.start(caller, "agent", wish())
        await asyncio.wait_for(reached.wait(), BOUND)
        closing = asyncio.ensure_future(core.engine.stop(5))
        await asyncio.wait({closing}, timeout=0)
        gate.set()
        await closing
        released = await core.store.execution(caller.workspace_id, started.execution.id)
        assert (released.status, released.steps) == (Status.QUEUED, 2)
    async with core_on(tmp_path, models=NamedModels({"actor": actor}), tools=bench) as core:
        view = await core.services.executions.rest(caller, started.execution.id)
        assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Done")
        assert sum(bench.calls.values()) == 1


async def test_what_cannot_finish_in_the_grace_is_taken_up_as_after_a_crash(
    tmp_path: Path,
) -> None:
    actor = Actor(lambda _: ["half", asyncio.Event()] if len(actor.asked) == 1 else ["whole"])
    async with core_on(
        tmp_path, models=NamedModels({"actor": actor}), tools=Bench(), drain_seconds=0
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        started = await core.services.executions.start(caller, "agent", wish())
        await asyncio.wait_for(actor.spoke.wait(), BOUND)
    assert actor.open == 0
    async with core_on(tmp_path, models=NamedModels({"actor": actor}), tools=Bench()) as core:
        view = await core.services.executions.rest(caller, started.execution.id)
        assert view.execution.output == "whole"
