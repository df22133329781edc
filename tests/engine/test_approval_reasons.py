"""Why a person approved a call reaches the model, as why it was denied does."""

from typing import Any

import pytest

from outlast.model.agent import Effect
from outlast.model.error import InvalidField
from outlast.model.execution import Status
from outlast.model.message import ToolMessage
from outlast.model.wait import MAX_REASON, Decision
from tests.support.databases import SQLITE
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = pytest.mark.anyio
REASON = "Only because it is Friday."


async def decided(server: EngineHarness, decision: Decision, **more: Any) -> str:
    view = await server.run(**more)
    assert view.execution.status is Status.SUSPENDED
    execution_id = view.execution.id
    await server.core.services.approvals.decide(
        server.caller, execution_id, call(1, "pay").id, decision
    )
    assert (await server.rest(execution_id)).execution.status is Status.COMPLETED
    return execution_id


def read(server: EngineHarness) -> Any:
    """What the model read last of the call."""
    messages = [m for m in server.model.requests[-1].messages if isinstance(m, ToolMessage)]
    return messages[0].content


@pytest.mark.parametrize(
    ("result", "text"),
    [("paid", "paid"), ({"paid": 5}, '{"paid":5}'), (None, "null")],
)
async def test_the_model_reads_why_a_call_was_approved_behind_its_result(
    make_engine: MakeEngine, result: Any, text: str
) -> None:
    model = FakeModel(by_turn([call(1, "pay")], ["Done"]))
    server = await make_engine(
        model, spec(tool("pay", approval=True)), FakeTools(pay=lambda _: result)
    )
    execution_id = await decided(server, Decision(approved=True, reason=REASON))
    assert read(server) == f"{text}\n\nThe call was approved by a person. Reason: {REASON}"
    [step] = [s for s in (await server.rest(execution_id)).steps if s.number == 2]
    assert step.result == result  # type: ignore[union-attr]  # the record keeps it as it was


async def test_without_a_reason_the_result_is_as_it_is(make_engine: MakeEngine) -> None:
    model = FakeModel(by_turn([call(1, "pay")], ["Done"]))
    server = await make_engine(
        model, spec(tool("pay", approval=True)), FakeTools(pay=lambda _: {"a": 1})
    )
    await decided(server, Decision(approved=True))
    assert read(server) == {"a": 1}


async def test_the_reason_is_read_in_later_turns_too(make_engine: MakeEngine) -> None:
    model = FakeModel(
        lambda request: [call(1, "pay")] if len(request.messages) == 1 else ["Done"],
    )
    server = await make_engine(
        model, spec(tool("pay", approval=True)), FakeTools(pay=lambda _: "paid")
    )
    execution_id = await decided(server, Decision(approved=True, reason=REASON))
    first = (await server.rest(execution_id)).execution
    await server.run("And now?", conversation_id=first.conversation_id)
    assert REASON in read(server)


async def test_the_reason_of_an_approved_call_that_fails_is_read_behind_the_error(
    make_engine: MakeEngine,
) -> None:
    from outlast.model.error import ToolFailed

    model = FakeModel(by_turn([call(1, "pay")], ["Done"]))
    tools = FakeTools(pay=lambda _: ToolFailed("No money."))
    server = await make_engine(model, spec(tool("pay", Effect.DESTRUCTIVE, approval=True)), tools)
    await decided(server, Decision(approved=True, reason=REASON))
    assert read(server) == f"No money.\n\nThe call was approved by a person. Reason: {REASON}"


@pytest.mark.only(SQLITE)
async def test_a_reason_has_a_bound_whichever_room_brings_it(make_engine: MakeEngine) -> None:
    model = FakeModel(by_turn([call(1, "pay")], ["Done"]))
    server = await make_engine(model, spec(tool("pay", approval=True)), FakeTools(pay=lambda _: 1))
    execution_id = (await server.run()).execution.id
    decide, which = server.core.services.approvals.decide, (execution_id, call(1, "pay").id)
    longest = "é" * MAX_REASON
    with pytest.raises(InvalidField, match="at most 65536 characters"):
        await decide(server.caller, *which, Decision(approved=False, reason=longest + "é"))
    decided = await decide(server.caller, *which, Decision(approved=False, reason=longest))
    assert decided.reason == longest


async def test_another_reason_for_the_same_decision_contradicts_nothing(
    share_engine: MakeEngine,
) -> None:
    model = FakeModel(by_turn([call(1, "pay")], ["Done"]))
    server = await share_engine(model, spec(tool("pay", approval=True)), FakeTools())
    execution_id = await decided(server, Decision(approved=False, reason="No money."))
    of = server.caller, execution_id, call(1, "pay").id
    again = Decision(approved=False, reason="No time.")
    decided_first = await server.core.services.approvals.decide(*of, again)
    assert decided_first.reason == "No money."
    assert "No money." in read(server)
