"""The life of an execution, driven through the services on a real database."""

import asyncio
from typing import Any

import pytest

from outlast.model.error import (
    Conflict,
    ToolFailed,
)
from outlast.model.execution import Status, ToolStep
from outlast.model.message import AssistantMessage, ToolMessage, UserMessage
from tests.support.engine import MakeEngine
from tests.support.models import FakeModel, ThinkingModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


async def test_a_run_of_one_model_call_completes_with_its_usage(share_engine: MakeEngine) -> None:
    server = await share_engine(FakeModel(by_turn(["Hel", "lo"])))
    execution = (await server.run()).execution
    assert (execution.status, execution.output, execution.steps) == (Status.COMPLETED, "Hello", 1)
    assert (execution.usage.input_tokens, execution.usage.cache_read_tokens) == (10, 3)
    assert execution.final_model == "actor-1"
    assert execution.first_token_ms == 0
    assert server.model.open == 0
    kinds = [entry.event.kind for entry in await server.log(execution.id)]
    assert kinds == [
        "execution.created",
        "execution.started",
        "text.added",
        "text.added",
        "model.finished",
        "execution.completed",
    ]


async def test_thinking_is_logged_as_a_part_of_its_own(share_engine: MakeEngine) -> None:
    server = await share_engine(ThinkingModel())
    view = await server.run()
    events = [e.event for e in await server.log(view.execution.id)][2:4]
    assert [(e.kind, getattr(e, "part", None)) for e in events] == [
        ("thinking.added", 0),
        ("text.added", 1),
    ]


async def test_tool_results_go_to_the_model_and_parallel_calls_run_in_parallel(
    share_engine: MakeEngine,
) -> None:
    meeting = asyncio.Barrier(2)

    async def meet(arguments: dict[str, Any]) -> dict[str, Any]:
        await meeting.wait()
        return {"got": arguments["n"]}

    model = FakeModel(
        by_turn(["Let me see. ", call(1, "meet", n=1), call(2, "meet", n=2)], ["Done"])
    )
    server = await share_engine(model, spec(tool("meet")), FakeTools(meet=meet))
    view = await server.run()
    assert (view.execution.output, view.execution.steps) == ("Done", 4)
    assert view.execution.usage.total_tokens == 30
    results = [s.result for s in view.steps if isinstance(s, ToolStep)]
    assert results == [{"got": 1}, {"got": 2}]
    heard = [m for m in model.requests[1].messages if isinstance(m, ToolMessage)]
    assert [m.content for m in heard] == [{"got": 1}, {"got": 2}]


async def test_the_tool_choice_holds_for_the_first_step_of_a_turn_only(
    share_engine: MakeEngine,
) -> None:
    model = FakeModel(by_turn([call(1, "look")], ["Done"]))
    server = await share_engine(
        model, spec(tool("look"), tool_choice="look"), FakeTools(look=lambda _: 1)
    )
    await server.run()
    assert [request.tool_choice for request in model.requests] == ["look", "auto"]


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        (call(1, "fails"), "no such order"),
        (call(1, "crashes"), "The tool crashes crashed."),
        (call(1, "unknown"), "There is no tool 'unknown'. Available tools: fails, crashes."),
    ],
)
async def test_a_tools_error_goes_back_to_the_model(
    share_engine: MakeEngine, wanted: Any, complaint: str
) -> None:
    def crash(_: dict[str, Any]) -> None:
        raise ZeroDivisionError

    tools = FakeTools(fails=lambda _: ToolFailed("no such order"), crashes=crash)
    model = FakeModel(by_turn([wanted], ["Sorry"]))
    server = await share_engine(model, spec(tool("fails"), tool("crashes")), tools)
    assert (await server.run()).execution.status is Status.COMPLETED
    answer = model.requests[1].messages[-1]
    assert isinstance(answer, ToolMessage)
    assert (answer.content, answer.is_error) == (complaint, True)


async def test_a_tool_that_needs_approval_suspends_and_leaves_nothing_in_memory(
    share_engine: MakeEngine,
) -> None:
    model = FakeModel(by_turn([call(1, "look"), call(2, "refund", amount=5)], ["Done"]))
    tools = FakeTools(look=lambda _: "seen", refund=lambda _: "refunded")
    server = await share_engine(model, spec(tool("look"), tool("refund", approval=True)), tools)
    view = await server.run()
    assert view.execution.status is Status.SUSPENDED
    assert [(a.name, a.kind, a.parameters) for a in view.approvals] == [
        ("refund", "approval", {"amount": 5})
    ]
    assert tools.order == ["look"]
    assert server.core.engine.running == 0
    cancelled = await server.executions.cancel(server.caller, view.execution.id)
    assert cancelled.execution.status is Status.CANCELLED


async def test_cancel_closes_the_model_call_and_keeps_and_charges_what_it_wrote(
    share_engine: MakeEngine,
) -> None:
    model = FakeModel(by_turn(["Once upon ", asyncio.Event()]))
    server = await share_engine(model)
    execution_id = await server.start()
    await asyncio.wait_for(model.spoke.wait(), BOUND)
    view = await server.executions.cancel(server.caller, execution_id)
    assert (view.execution.status, view.execution.output) == (Status.CANCELLED, "Once upon ")
    assert model.open == 0
    assert view.execution.usage.estimated
    assert view.execution.usage.output_tokens == 3
    with pytest.raises(Conflict):
        await server.executions.cancel(server.caller, execution_id)


async def test_cancel_stops_a_running_tool(share_engine: MakeEngine) -> None:
    started = asyncio.Event()

    async def slow(_: dict[str, Any]) -> None:
        started.set()
        await asyncio.Event().wait()

    server = await share_engine(
        FakeModel(by_turn([call(1, "slow")])), spec(tool("slow")), FakeTools(slow=slow)
    )
    execution_id = await server.start()
    await asyncio.wait_for(started.wait(), BOUND)
    view = await server.executions.cancel(server.caller, execution_id)
    assert view.execution.status is Status.CANCELLED
    assert view.execution.usage.total_tokens == 15


async def test_a_cancelled_turn_leaves_a_history_that_models_accept(
    share_engine: MakeEngine,
) -> None:
    started = asyncio.Event()

    async def slow(_: dict[str, Any]) -> None:
        started.set()
        await asyncio.Event().wait()

    model = FakeModel(lambda r: ["Hi"] if len(r.messages) > 1 else [call(1, "slow")])
    server = await share_engine(model, spec(tool("slow")), FakeTools(slow=slow))
    execution_id = await server.start("first")
    await asyncio.wait_for(started.wait(), BOUND)
    view = await server.executions.cancel(server.caller, execution_id)
    await server.run("second", conversation_id=view.execution.conversation_id)
    kinds = [type(m) for m in model.requests[-1].messages]
    assert kinds == [UserMessage, AssistantMessage, ToolMessage, UserMessage]
