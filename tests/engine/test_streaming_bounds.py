"""An answer is held against every bound while it streams, by estimated tokens."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from outlast.agents.port import (
    Answer,
    CallPiece,
    ModelEvent,
    ModelRequest,
    TextPiece,
    ThinkingPiece,
)
from outlast.model.agent import Limits
from outlast.model.error import ModelUnavailable
from outlast.model.execution import Budget, ModelStep, Status
from outlast.model.message import AssistantMessage, Text
from outlast.model.price import UNPRICED, ModelPrice, Prices
from outlast.model.usage import Usage
from tests.support.engine import MakeEngine
from tests.support.models import FakeModel, by_turn
from tests.support.tools import spec
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
PIECE = "x" * 40


def call_piece(text: str) -> CallPiece:
    """The piece of a tool call of that length."""
    return CallPiece(len(text))


class Chatter:
    """Says the same piece again and again, until it is closed or has said it so often."""

    def __init__(self, kind: Callable[[str], ModelEvent], pieces: int) -> None:
        self._kind, self._pieces = kind, pieces
        self.said = 0
        self.closed = False

    async def stream(self, _: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        try:
            while self.said < self._pieces:
                self.said += 1
                yield self._kind(PIECE)
            message = AssistantMessage((Text(PIECE * self.said),))
            yield Answer(message, Usage(1, 1), "chatter-1", "stop")
        finally:
            self.closed = True

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("limits", "budget", "code", "most"),
    [
        (Limits(max_tokens=1000), {}, "limit_exceeded", 1000),
        (Limits(), {"max_tokens": 500}, "budget_exceeded", 500),
        (Limits(), {"max_credits": 0.25}, "budget_exceeded", 250),
        (Limits(max_tokens=300), {"max_tokens": 700}, "limit_exceeded", 300),
        (Limits(max_tokens=1), {}, "limit_exceeded", 1),
    ],
)
@pytest.mark.parametrize("kind", [TextPiece, ThinkingPiece, call_piece])
async def test_an_answer_that_passes_a_bound_is_closed_kept_and_charged(
    make_engine: MakeEngine, kind: Any, limits: Limits, budget: dict[str, Any], code: str, most: int
) -> None:
    model = Chatter(kind, 100_000)
    server = await make_engine(model, spec(limits=limits))
    execution = (await server.run(budget=Budget(**budget))).execution
    assert execution.status is Status.FAILED
    assert execution.error is not None
    assert execution.error.code == code
    assert model.closed
    assert model.said <= most // 10 + 1
    usage = execution.usage
    assert usage.estimated
    assert usage.output_tokens == 10 * model.said
    assert most < usage.total_tokens <= most + 10 + usage.input_tokens
    assert execution.credits == UNPRICED.of(usage)
    if kind is TextPiece:
        assert execution.output == PIECE * model.said
    [step] = await server.core.store.executions.steps(server.caller.workspace_id, execution.id)
    assert isinstance(step, ModelStep)
    assert step.finish_reason == "error"


async def test_an_answer_within_its_bounds_is_heard_to_its_end(share_engine: MakeEngine) -> None:
    server = await share_engine(Chatter(TextPiece, 90), spec(limits=Limits(max_tokens=1000)))
    execution = (await server.run(budget=Budget(max_tokens=950, max_credits=0.95))).execution
    assert (execution.status, execution.output) == (Status.COMPLETED, PIECE * 90)
    assert not execution.usage.estimated


async def test_output_that_costs_nothing_is_bound_by_no_credits(make_engine: MakeEngine) -> None:
    prices = Prices({"actor": ModelPrice(1000, 0, 0, 0)})
    server = await make_engine(Chatter(TextPiece, 500), prices=prices)
    execution = (await server.run(budget=Budget(max_credits=0.001))).execution
    assert execution.status is Status.COMPLETED


async def test_an_answer_without_bounds_is_not_measured(share_engine: MakeEngine) -> None:
    server = await share_engine(FakeModel(by_turn([PIECE] * 1000)))
    assert (await server.run()).execution.status is Status.COMPLETED


async def test_the_calls_of_an_answer_count_with_its_text(share_engine: MakeEngine) -> None:
    class Both(Chatter):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            yield TextPiece("a" * 400)
            async for event in super().stream(request):
                yield event

    model = Both(call_piece, 100_000)
    server = await share_engine(model, spec(limits=Limits(max_tokens=1000)))
    execution = (await server.run()).execution
    assert execution.error is not None
    assert execution.error.code == "limit_exceeded"
    assert execution.output == "a" * 400
    assert model.said == 91
    assert execution.usage.output_tokens == 100 + 910


async def test_a_request_that_is_tried_again_begins_to_count_anew(share_engine: MakeEngine) -> None:
    class Breaks(Chatter):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            breaks, self.said = not self.said, 0
            async for event in super().stream(request):
                yield event
                if breaks and self.said == 80:
                    raise ModelUnavailable("broken off")

    server = await share_engine(Breaks(call_piece, 90), spec(limits=Limits(max_tokens=1000)))
    slept = asyncio.ensure_future(server.clock.sleeper())
    execution_id = await server.start()
    await asyncio.wait_for(slept, BOUND)
    server.clock.advance(0.5)
    execution = (await server.rest(execution_id)).execution
    assert execution.status is Status.COMPLETED
    assert execution.usage == Usage(1, 1)


async def test_a_cancel_between_two_requests_charges_nothing_for_the_failed_one(
    share_engine: MakeEngine,
) -> None:
    class Breaks(Chatter):
        async def stream(self, _: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            yield CallPiece(4000)
            raise ModelUnavailable("broken off")

    server = await share_engine(Breaks(call_piece, 1))
    slept = asyncio.ensure_future(server.clock.sleeper())
    execution_id = await server.start()
    await asyncio.wait_for(slept, BOUND)
    await server.executions.cancel(server.caller, execution_id)
    execution = (await server.rest(execution_id)).execution
    assert (execution.status, execution.usage.total_tokens) == (Status.CANCELLED, 0)


async def test_a_cancelled_request_is_charged_for_the_calls_that_it_got(
    share_engine: MakeEngine,
) -> None:
    begun = asyncio.Event()

    class Hangs(Chatter):
        async def stream(self, _: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            yield CallPiece(41)
            begun.set()
            await asyncio.Event().wait()

    server = await share_engine(Hangs(call_piece, 1))
    started = await server.start()
    async with asyncio.timeout(BOUND):
        await begun.wait()
    await server.executions.cancel(server.caller, started)
    execution = (await server.rest(started)).execution
    assert execution.status is Status.CANCELLED
    assert execution.usage.output_tokens == 11
    assert execution.usage.estimated
    assert execution.credits == UNPRICED.of(execution.usage)
