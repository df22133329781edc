"""Pause, resume, roll back: a segment started from a checkpoint, in any state."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from outlast.model.agent import Effect, Limits
from outlast.model.error import (
    BudgetExceeded,
    CheckpointNotFound,
    Conflict,
    ConversationBusy,
    ModelRejected,
)
from outlast.model.event import (
    START,
    Entry,
    ExecutionPaused,
    ExecutionResumed,
    ModelFinished,
    StepRetried,
    TextAdded,
)
from outlast.model.execution import Budget, Status, ToolStep
from outlast.model.wait import WaitKind
from outlast.services.approvals import Decision
from outlast.services.executions import ExecutionView
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio

LOOKS: list[Reply] = [["Look ", "again. ", call(n, "look")] for n in range(1, 6)]
TEN: list[Reply] = [*LOOKS, ["All well."]]


def ten_steps() -> FakeModel:
    return FakeModel(by_turn(*TEN))


async def ended(
    make_engine: MakeEngine, model: FakeModel | None = None, **more: Any
) -> tuple[EngineHarness, str]:
    server = await make_engine(
        model or ten_steps(), spec(tool("look")), FakeTools(look=lambda _: "x"), **more
    )
    execution_id = await server.start()
    await server.rest(execution_id)
    return server, execution_id


async def get(server: EngineHarness, execution_id: str) -> ExecutionView:
    return await server.executions.get(server.caller, execution_id)


async def resume(
    server: EngineHarness, execution_id: str, checkpoint: str | None = None
) -> ExecutionView:
    await server.executions.resume(server.caller, execution_id, checkpoint)
    return await server.rest(execution_id)


async def at_step(server: EngineHarness, execution_id: str, step: int) -> str:
    found = await server.executions.checkpoints(server.caller, execution_id)
    return next(c.id for c in found if c.step == step and not c.superseded)


def shown(entries: list[Entry]) -> str:
    """What a client that drops void text shows in the end."""
    texts: dict[int, str] = {}
    for entry in entries:
        match entry.event:
            case TextAdded(step, _, pieces):
                texts[step] = texts.get(step, "") + "".join(pieces)
            case StepRetried(step):
                texts.pop(step, None)
            case ExecutionResumed() as resumed:
                texts = {step: text for step, text in texts.items() if not resumed.voids(step)}
            case _:
                pass
    return "".join(texts.values())


async def test_a_ten_step_run_is_rolled_back_to_step_4_five_times(share_engine: MakeEngine) -> None:
    server, execution_id = await ended(share_engine)
    whole = await get(server, execution_id)
    assert (whole.execution.steps, whole.execution.usage.total_tokens) == (11, 90)
    fourth = await at_step(server, execution_id, 4)
    for time in range(1, 6):
        rolled = await server.executions.resume(server.caller, execution_id, fourth)
        assert rolled.execution.usage.total_tokens == 30
        assert (rolled.execution.steps, rolled.execution.completed_at) == (4, None)
        again = (await server.rest(execution_id)).execution
        assert (again.status, again.output) == (Status.COMPLETED, "All well.")
        assert (again.steps, again.usage) == (11, whole.execution.usage)
        assert again.charged_tokens == 90 + 60 * time
    assert [s.number for s in (await get(server, execution_id)).steps][:4] == [1, 2, 3, 4]
    checkpoints = await server.executions.checkpoints(server.caller, execution_id)
    assert len(checkpoints) == 11 + 5 * 7
    assert sum(not c.superseded for c in checkpoints) == 11
    log = await server.log(execution_id)
    assert [e.seq for e in log] == list(range(1, len(log) + 1))
    assert shown(log) == "Look again. " * 5 + "All well."
    numbers = [e.event.step for e in log if isinstance(e.event, ModelFinished)]
    assert len(numbers) == len(set(numbers)) == 6 + 5 * 4


async def test_a_later_turn_sees_nothing_of_superseded_work(share_engine: MakeEngine) -> None:
    finals = iter(["first end", "second end", "next"])

    def play(request: Any) -> Any:
        count = [m for m in request.messages if hasattr(m, "parts")]
        if request.messages[-1] == request.messages[0]:
            return [call(1, "look")]
        return [next(finals)] if count else ["?"]

    server, execution_id = await ended(share_engine, FakeModel(play))
    await resume(server, execution_id, await at_step(server, execution_id, 2))
    conversation = (await get(server, execution_id)).execution.conversation_id
    await server.run("and now?", conversation_id=conversation)
    heard = str(server.model.requests[-1].messages)
    assert "second end" in heard
    assert "first end" not in heard


def waiting(gate: asyncio.Event, at: int = 2) -> FakeModel:
    """Waits in its answer number `at`, the first time that it is requested."""

    def play(request: Any) -> Any:
        said = sum(hasattr(m, "parts") for m in request.messages) + 1
        if said == at and sum(r is not request for r in model.requests) < at:
            return ["half ", gate]
        return TEN[said - 1] if said < at else ["Whole."]

    model = FakeModel(play)
    return model


async def paused_now(make_engine: MakeEngine, **settings: Any) -> tuple[EngineHarness, str]:
    model = waiting(asyncio.Event())
    server = await make_engine(model, spec(tool("look")), FakeTools(look=lambda _: "x"), **settings)
    execution_id = await server.start()
    workspace = server.caller.workspace_id
    async with asyncio.timeout(BOUND):
        while "half" not in str(
            await server.core.store.executions.log(workspace, execution_id, START, 99)
        ):
            await between_looks()
    await server.executions.pause(server.caller, execution_id, now=True, reason="lunch")
    return server, execution_id


async def until_pause_is_requested(server: EngineHarness, execution_id: str) -> None:
    async with asyncio.timeout(BOUND):
        while (await get(server, execution_id)).execution.pause_requested is None:
            await between_looks()


async def test_a_pause_now_closes_the_model_request_and_its_step_is_run_again(
    share_engine: MakeEngine,
) -> None:
    server, execution_id = await paused_now(share_engine)
    row = (await get(server, execution_id)).execution
    assert (row.status, server.model.open, row.steps) == (Status.PAUSED, 0, 2)
    assert row.usage.total_tokens == 15
    assert row.superseded_tokens > 0
    assert (await get(server, execution_id)).execution.pause_requested is None
    end = (await resume(server, execution_id)).execution
    assert (end.status, end.output, end.steps) == (Status.COMPLETED, "Whole.", 3)
    assert end.usage.total_tokens == 30
    assert end.charged_tokens == 30 + row.superseded_tokens
    log = await server.log(execution_id)
    paused = [e.event for e in log if isinstance(e.event, ExecutionPaused)]
    assert [(e.reason, e.output_tokens) for e in paused] == [("lunch", 2)]
    kinds = [e.event.kind for e in log]
    where = kinds.index("execution.paused")
    assert kinds[where + 1 : where + 4] == [
        "execution.resumed",
        "step.retried",
        "execution.started",
    ]
    assert shown(log) == "Look again. Whole."


async def test_a_pause_that_meets_the_last_step_is_refused_once_it_has_ended(
    share_engine: MakeEngine,
) -> None:
    gate = asyncio.Event()
    model = waiting(gate, at=1)
    server = await share_engine(model, spec(tool("look")), FakeTools(look=lambda _: "x"))
    execution_id = await server.start()
    await asyncio.wait_for(model.spoke.wait(), BOUND)
    pausing = asyncio.ensure_future(server.executions.pause(server.caller, execution_id))
    await until_pause_is_requested(server, execution_id)
    gate.set()
    with pytest.raises(Conflict, match="completed"):  # that was its last step
        await pausing


async def test_a_pause_between_an_answer_and_its_calls_goes_on_with_the_calls(
    share_engine: MakeEngine,
) -> None:
    gate = asyncio.Event()
    model = FakeModel(by_turn(["Hm", gate, call(1, "look")], ["Done."]))
    tools = FakeTools(look=lambda _: "x")
    server = await share_engine(model, spec(tool("look", Effect.DESTRUCTIVE)), tools)
    execution_id = await server.start()
    await asyncio.wait_for(model.spoke.wait(), BOUND)
    pausing = asyncio.ensure_future(server.executions.pause(server.caller, execution_id))
    await until_pause_is_requested(server, execution_id)
    gate.set()
    assert (await pausing).execution.status is Status.PAUSED
    assert not tools.calls
    assert (await resume(server, execution_id)).execution.output == "Done."
    assert tools.calls == {call(1, "look").id: 1}
    assert len(model.requests) == 2


async def test_what_is_queued_is_paused_at_once_and_keeps_its_turn(
    share_engine: MakeEngine,
) -> None:
    gate = asyncio.Event()
    model = FakeModel(lambda r: [f"{len(r.messages)}", gate])
    server = await share_engine(model)
    first = await server.start("one")
    await asyncio.wait_for(model.spoke.wait(), BOUND)
    conversation = (await get(server, first)).execution.conversation_id
    second = await server.start("two", conversation_id=conversation)
    third = await server.start("three", conversation_id=conversation)
    assert (await server.executions.pause(server.caller, second)).execution.status == "paused"
    resumed = await server.executions.resume(server.caller, second)
    assert resumed.execution.waiting
    await server.executions.pause(server.caller, second)
    gate.set()
    assert (await server.rest(first)).execution.output == "1"
    assert (await get(server, third)).execution.waiting
    assert (await resume(server, second)).execution.output == "3"
    assert (await server.rest(third)).execution.output == "5"


async def test_what_waits_for_an_approval_is_paused_and_waits_again_after(
    share_engine: MakeEngine,
) -> None:
    tools = FakeTools(pay=lambda _: "paid")
    model = FakeModel(by_turn([call(1, "pay")], ["Done."]))
    server = await share_engine(model, spec(tool("pay", approval=True)), tools)
    execution_id = await server.start()
    await server.rest(execution_id)
    assert (await server.executions.pause(server.caller, execution_id)).execution.status == "paused"
    resumed = await server.executions.resume(server.caller, execution_id)
    assert resumed.execution.status is Status.SUSPENDED
    with pytest.raises(Conflict):
        await server.executions.resume(server.caller, execution_id)
    await server.executions.pause(server.caller, execution_id)
    approvals = server.core.services.approvals
    await approvals.decide(server.caller, execution_id, call(1, "pay").id, Decision(approved=True))
    assert (await get(server, execution_id)).execution.status is Status.PAUSED
    assert (await resume(server, execution_id)).execution.status is Status.COMPLETED
    assert tools.calls == {call(1, "pay").id: 1}


async def test_a_roll_back_behind_a_decision_asks_again(share_engine: MakeEngine) -> None:
    tools = FakeTools(pay=lambda _: "paid")
    model = FakeModel(by_turn([call(1, "pay")], ["Done."]))
    server = await share_engine(model, spec(tool("pay", approval=True)), tools)
    execution_id = await server.start()
    await server.rest(execution_id)
    approvals = server.core.services.approvals
    decision = Decision(approved=True, parameters={"n": 1})
    await approvals.decide(server.caller, execution_id, call(1, "pay").id, decision)
    await server.rest(execution_id)
    view = await resume(server, execution_id, await at_step(server, execution_id, 1))
    assert view.execution.status is Status.SUSPENDED
    assert [(a.is_open, a.effective_parameters) for a in view.approvals] == [(True, None)]
    await approvals.decide(server.caller, execution_id, call(1, "pay").id, Decision(approved=False))
    assert (await server.rest(execution_id)).execution.output == "Done."
    assert tools.calls == {call(1, "pay").id: 1}


async def test_a_call_that_a_cancel_cut_off_needs_a_decision_before_it_runs_again(
    share_engine: MakeEngine,
) -> None:
    reached = asyncio.Event()

    async def pay(_: Any) -> str:
        reached.set()
        await asyncio.Event().wait()
        return "never"

    model = FakeModel(by_turn([call(1, "pay")], ["Done."]))
    server = await share_engine(model, spec(tool("pay", Effect.DESTRUCTIVE)), FakeTools(pay=pay))
    execution_id = await server.start()
    await asyncio.wait_for(reached.wait(), BOUND)
    await server.executions.cancel(server.caller, execution_id)
    view = await resume(server, execution_id)
    assert view.execution.status is Status.SUSPENDED
    assert [(a.kind, a.is_open) for a in view.approvals] == [(WaitKind.UNKNOWN_OUTCOME, True)]
    approvals = server.core.services.approvals
    decision = Decision(approved=True, result="it did")
    await approvals.decide(server.caller, execution_id, call(1, "pay").id, decision)
    end = await server.rest(execution_id)
    assert end.execution.output == "Done."
    assert [s.result for s in end.steps if isinstance(s, ToolStep)] == ["it did"]


async def test_a_failed_execution_goes_on_from_its_newest_checkpoint(
    share_engine: MakeEngine,
) -> None:
    replies: Iterator[Reply] = iter(
        [["Look", call(1, "look")], ["half", ModelRejected("no")], ["Whole."]]
    )
    server, execution_id = await ended(share_engine, FakeModel(lambda _: next(replies)))
    failed = (await get(server, execution_id)).execution
    assert (failed.status, failed.output) == (Status.FAILED, "half")
    end = (await resume(server, execution_id)).execution
    assert (end.status, end.output, end.error) == (Status.COMPLETED, "Whole.", None)
    assert end.usage.total_tokens == 30
    assert not end.usage.estimated
    assert end.charged_tokens == failed.usage.total_tokens + 15
    assert shown(await server.log(execution_id)) == "LookWhole."


async def test_a_run_that_a_limit_ended_may_be_rolled_back_but_not_beyond_its_budget(
    share_engine: MakeEngine,
) -> None:
    agent = spec(tool("look"), limits=Limits(max_steps=6))
    server = await share_engine(ten_steps(), agent, FakeTools(look=lambda _: "x"))
    execution_id = await server.start(budget=Budget(max_tokens=60))
    failed = (await server.rest(execution_id)).execution
    assert failed.error is not None
    assert failed.error.code == "limit_exceeded"
    view = await resume(server, execution_id, await at_step(server, execution_id, 2))
    assert view.execution.error is not None
    assert view.execution.error.code == BudgetExceeded.code
    assert view.execution.charged_tokens == 45, "the next request has no room"


async def test_what_cannot_be_resumed_is_refused(share_engine: MakeEngine) -> None:
    server, execution_id = await ended(share_engine)
    with pytest.raises(Conflict, match="name a checkpoint"):
        await server.executions.resume(server.caller, execution_id)
    with pytest.raises(CheckpointNotFound):
        await server.executions.resume(server.caller, execution_id, server.clock.new_id("cp"))
    late = await at_step(server, execution_id, 8)
    await resume(server, execution_id, await at_step(server, execution_id, 4))
    with pytest.raises(Conflict, match="superseded"):
        await server.executions.resume(server.caller, execution_id, late)
    with pytest.raises(Conflict, match="cannot be paused"):
        await server.executions.pause(server.caller, execution_id)


async def test_a_roll_back_does_not_cut_into_a_live_turn(share_engine: MakeEngine) -> None:
    server, execution_id = await ended(share_engine)
    fourth = await at_step(server, execution_id, 4)
    conversation = (await get(server, execution_id)).execution.conversation_id
    gate = asyncio.Event()
    server.model._play = lambda _: ["wait", gate]
    later = await server.start("more", conversation_id=conversation)
    with pytest.raises(ConversationBusy):
        await server.executions.resume(server.caller, execution_id, fourth)
    gate.set()
    await server.rest(later)
    server.model._play = by_turn(*TEN)
    assert (await resume(server, execution_id, fourth)).execution.output == "All well."


async def test_a_roll_back_to_the_last_answer_ends_with_it(share_engine: MakeEngine) -> None:
    server, execution_id = await ended(share_engine)
    count = len(server.model.requests)
    view = await resume(server, execution_id, await at_step(server, execution_id, 11))
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "All well.")
    assert len(server.model.requests) == count
