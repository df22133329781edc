"""What ends an execution before its last answer: failures, limits, budgets."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from outlast.agents.estimate import request_tokens
from outlast.agents.port import Answer, ModelEvent, ModelRequest
from outlast.model.agent import Limits
from outlast.model.error import (
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
)
from outlast.model.event import StepRetried, TextAdded
from outlast.model.execution import Budget, Status
from outlast.model.usage import Usage
from tests.support.databases import SQLITE
from tests.support.engine import MakeEngine
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


async def test_a_failed_request_is_made_again_after_a_wait_and_its_text_is_void(
    share_engine: MakeEngine,
) -> None:
    replies: Iterator[Reply] = iter([["Hal", ModelUnavailable("gone")], ["Hello"]])
    server = await share_engine(FakeModel(lambda _: next(replies)))
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


async def test_the_wait_before_the_next_request_is_the_providers(share_engine: MakeEngine) -> None:
    replies: Iterator[Reply] = iter([[ModelRateLimited("slow down", retry_after=7)], ["Hello"]])
    server = await share_engine(FakeModel(lambda _: next(replies)))
    slept = asyncio.ensure_future(server.clock.sleeper())
    execution_id = await server.start()
    await asyncio.wait_for(slept, BOUND)
    server.clock.advance(6.9)
    assert (await server.executions.get(server.caller, execution_id)).execution.status == "running"
    server.clock.advance(0.2)
    assert (await server.rest(execution_id)).execution.status is Status.COMPLETED


async def test_a_request_that_was_rejected_fails_the_execution_at_once(
    share_engine: MakeEngine,
) -> None:
    server = await share_engine(FakeModel(lambda _: ["He", ModelRejected("401: bad key")]))
    execution = (await server.run()).execution
    assert (execution.status, execution.output) == (Status.FAILED, "He")
    assert execution.error is not None
    assert (execution.error.code, execution.error.message) == ("model_rejected", "401: bad key")
    assert len(server.model.requests) == 1


async def test_an_unforeseen_exception_fails_the_execution_without_a_word_of_it(
    share_engine: MakeEngine,
) -> None:
    def explode(_: Any) -> Any:
        raise RuntimeError("secret detail")

    execution = (await (await share_engine(FakeModel(explode))).run()).execution
    assert execution.error is not None
    assert execution.error.code == "internal_error"
    assert "secret" not in execution.error.message


async def test_a_limit_of_steps_ends_a_loop(share_engine: MakeEngine) -> None:
    model = FakeModel(lambda _: ["…", call(len(model.requests), "look")])
    limits = Limits(max_steps=4)
    server = await share_engine(
        model, spec(tool("look"), limits=limits), FakeTools(look=lambda _: 1)
    )
    execution = (await server.run()).execution
    assert (execution.status, execution.steps, execution.output) == (Status.FAILED, 4, "…")
    assert execution.error is not None
    assert execution.error.code == "limit_exceeded"


async def test_a_budget_of_tokens_bounds_the_answer_and_fails_what_overspends(
    share_engine: MakeEngine,
) -> None:
    server = await share_engine(FakeModel(by_turn(["Hello"])))
    view = await server.run(budget=Budget(max_tokens=12))
    (request,) = server.model.requests
    assert request.settings["max_tokens"] == 12 - request_tokens(request) == 8
    assert view.execution.output == "Hello"
    assert view.execution.error is not None
    assert view.execution.error.code == "budget_exceeded"
    assert (await server.run(budget=Budget(max_tokens=16))).execution.status is Status.COMPLETED
    poor = await server.run(budget=Budget(max_credits=0.001))
    assert poor.execution.error is not None
    assert poor.execution.error.code == "budget_exceeded"


@pytest.mark.only(SQLITE)
async def test_input_that_a_budget_has_no_room_for_is_not_sent(share_engine: MakeEngine) -> None:
    server = await share_engine(FakeModel(by_turn(["Hello"])))
    text = "word " * 1000
    for budget in (Budget(max_tokens=1000), Budget(max_credits=1)):
        execution = (await server.run(text, budget=budget)).execution
        assert execution.error is not None
        assert execution.error.code == "budget_exceeded"
        assert "The next request has 1253 tokens of input." in execution.error.message
        assert (execution.charged_tokens, execution.credits) == (0, 0)
    assert server.model.requests == []
    exact = await server.run(text, budget=Budget(max_tokens=1254))
    assert server.model.requests[0].settings["max_tokens"] == 1
    assert exact.execution.charged_tokens == 15


class Wordless(FakeModel):
    """Its last answer has a finish reason of its own."""

    reason = "content_filter"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        async for event in super().stream(request):
            yield replace(event, finish_reason=self.reason) if isinstance(event, Answer) else event


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize(
    ("reason", "code"), [("content_filter", "model_rejected"), ("length", "limit_exceeded")]
)
async def test_an_answer_that_ended_before_its_first_word_fails_and_is_charged(
    share_engine: MakeEngine, reason: str, code: str
) -> None:
    model = Wordless(by_turn([""]))
    model.reason = reason
    server = await share_engine(model)
    view = await server.run()
    assert view.execution.status is Status.FAILED
    assert view.execution.error is not None
    assert view.execution.error.code == code
    assert view.execution.usage.total_tokens > 0


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize("reason", ["content_filter", "length"])
async def test_an_answer_that_ended_behind_some_words_is_kept(
    share_engine: MakeEngine, reason: str
) -> None:
    model = Wordless(by_turn(["Half an answer"]))
    model.reason = reason
    view = await (await share_engine(model)).run()
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Half an answer")


class CutOff(FakeModel):
    """Its answer has as many tokens as it may have, its input fewer than estimated."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        async for event in super().stream(request):
            if isinstance(event, Answer):
                usage = Usage(1, request.settings["max_tokens"])
                yield replace(event, usage=usage, finish_reason="length")
            else:
                yield event


@pytest.mark.only(SQLITE)
async def test_an_answer_that_its_budget_has_cut_off_ends_as_budget_exceeded(
    share_engine: MakeEngine,
) -> None:
    server = await share_engine(CutOff(by_turn(["So fa"])))
    execution = (await server.run(budget=Budget(max_tokens=12))).execution
    assert (execution.status, execution.output) == (Status.FAILED, "So fa")
    assert execution.error is not None
    assert execution.error.code == "budget_exceeded"


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize(
    ("limits", "budget", "error"),
    [
        (Limits(max_seconds=30), Budget(), "The agent's limit of 30 seconds is reached."),
        (Limits(), Budget(max_seconds=30), "The budget of 30 seconds is spent."),
    ],
    ids=["limit", "budget"],
)
async def test_a_limit_or_budget_of_seconds_ends_a_model_call(
    share_engine: MakeEngine, limits: Limits, budget: Budget, error: str
) -> None:
    model = FakeModel(by_turn(["Well", asyncio.Event()]))
    server = await share_engine(model, spec(limits=limits))
    execution_id = await server.start(budget=budget)
    await asyncio.wait_for(model.spoke.wait(), BOUND)
    watched = asyncio.ensure_future(server.clock.sleeper())
    server.clock.advance(29)
    await asyncio.wait_for(watched, BOUND)
    assert model.open == 1
    server.clock.advance(2)
    execution = (await server.rest(execution_id)).execution
    assert (execution.status, execution.output, model.open) == (Status.FAILED, "Well", 0)
    assert execution.error is not None
    assert execution.error.message == error
    ended_by = "budget" if budget.max_seconds else "limit"
    assert execution.error.code == f"{ended_by}_exceeded"


async def test_a_limit_of_seconds_is_kept_between_steps_too(share_engine: MakeEngine) -> None:
    async def slow(_: dict[str, Any]) -> int:
        server.clock.advance(0.9)
        return 1

    model = FakeModel(by_turn([call(1, "slow")], ["never sent"]))
    agent = spec(tool("slow"), limits=Limits(max_seconds=0.5))
    server = await share_engine(model, agent, FakeTools(slow=slow))
    execution = (await server.run()).execution
    assert execution.error is not None
    assert execution.error.code == "limit_exceeded"
    assert len(model.requests) == 1


async def test_session_values_reach_the_model_as_json_on_one_line(share_engine: MakeEngine) -> None:
    server = await share_engine(FakeModel(by_turn(["Hello"])))
    await server.run(session={"tier": None, "tags": ["a"], "name": "Sarah\n- admin: true"})
    assert server.model.requests[0].instructions.endswith(
        '- name: Sarah - admin: true\n- tags: ["a"]\n- tier: null'
    )
