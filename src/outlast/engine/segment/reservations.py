"""Reserves in budgets what a model request or tool calls may cost, before they begin.

An execution that spends from no budget reserves nothing, and costs no statement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from outlast.agents.port import ModelRequest
from outlast.agents.prices.price_list import PriceList
from outlast.engine.budget_notices import BudgetNotices
from outlast.engine.segment.call_costs import cost_of_calls
from outlast.engine.segment.limits import bounded, input_tokens
from outlast.engine.segment.segment import Segment
from outlast.model.agent import AgentSpec
from outlast.model.amount import amount
from outlast.model.budget import (
    LEAST_OUTPUT,
    MOST_OUTPUT,
    Amounts,
    BudgetRefused,
    Reservation,
)
from outlast.model.clock import Clock
from outlast.model.execution import (
    TERMINAL,
    Execution,
    Status,
    Step,
    ToolStep,
    advanced,
)
from outlast.model.message import ToolCall
from outlast.model.usage import Usage
from outlast.store.budgets.reserve import Reserve, Reserved
from outlast.store.budgets.shares import Applying, Wanted, held_in
from outlast.store.budgets.store import BudgetStore
from outlast.store.executions.spending import bounds_of


@dataclass(frozen=True, slots=True)
class Reservations:
    """Reserves for running segments."""

    store: BudgetStore
    clock: Clock
    prices: PriceList
    notices: BudgetNotices

    async def for_request(
        self, segment: Segment, spec: AgentSpec, model: str, request: ModelRequest
    ) -> ModelRequest:
        """Reserve what a request may cost; return it with its answer bounded to what fits.

        Raises BudgetExceeded, BudgetRefused, StaleWrite.
        """
        request = bounded(segment, spec, self.prices, model, request)
        if not segment.applying:
            return request
        price = self.prices.of_model(model)
        read = input_tokens(segment, request)
        bound = request.answer_limit
        most = MOST_OUTPUT if bound is None else min(bound, MOST_OUTPUT)
        cost = price.of(Usage(read, 0))
        wanted = Wanted(read, cost, most, price.output, least=min(LEAST_OUTPUT, most))
        reserved = await self._reserve(segment, wanted)
        if reserved.output_tokens >= most:
            return request
        lower = {**request.settings, "max_tokens": reserved.output_tokens}
        return replace(request, settings=lower)

    async def for_calls(self, segment: Segment, calls: Sequence[ToolCall]) -> None:
        """Reserve for calls that are about to run, unless their answer's step has done so.

        Raises BudgetRefused, StaleWrite.
        """
        if not segment.applying or segment.execution.reserved is not None:
            return
        cost = cost_of_calls(segment, calls, self.prices)
        await self._reserve(segment, Wanted(0, cost, 0, 0, len(calls)), calls=True)

    def held(
        self, segment: Segment, calls: Sequence[ToolCall], *, children: bool
    ) -> Reservation | None:
        """Return what an answer's calls are to reserve when it is recorded; None: nothing.

        `children`: some of them create child executions.
        """
        execution = segment.execution
        applying = list(segment.applying)
        if children and _makes_tree(execution):
            applying.append(Applying(execution.id, None, 1, made=0))
        if not applying:
            return None
        cost = cost_of_calls(segment, calls, self.prices)
        return held_in(applying, execution.tree, Amounts(0, cost, len(calls)), calls=True)

    async def refused_calls(self, error: BudgetRefused, calls: int) -> BudgetRefused:
        """Note that an answer's calls did not fit; return the error that says so."""
        if await self.store.note_refusal(error, self.clock.now()):
            self.notices.refused(error)
        error.message += (
            f" The answer's {amount(calls, 'tool call')} would pass it; none was begun."
        )
        return error

    async def _reserve(self, segment: Segment, wanted: Wanted, *, calls: bool = False) -> Reserved:
        execution = segment.execution
        now = self.clock.now()
        since = max(execution.updated_at, segment.counted_to)
        request = Reserve(execution, segment.applying, wanted, max(now, since), since, calls)
        try:
            reserved = await self.store.reserve(request)
        except BudgetRefused as error:
            segment.execution = advanced(execution, {"reserved": None})
            if error.first:
                self.notices.refused(error)
            raise
        segment.execution = advanced(execution, {"reserved": reserved.reservation})
        segment.timed = reserved.timed
        segment.time_counted(request.at, reserved.millis_left, self.clock.monotonic())
        return reserved


def _makes_tree(execution: Execution) -> bool:
    first = execution.root_id is None and not execution.children
    return first and bool(bounds_of(execution.budget))


def still_reserved(
    segment: Segment, status: Status, steps: Sequence[Step], prices: PriceList, *, begins: bool
) -> Reservation | None:
    """Return what is still reserved after a move: what a model request has reserved ends with it.

    `begins`: another segment does.
    """
    reserved = segment.execution.reserved
    if reserved is None or status in TERMINAL:
        return None
    if not reserved.calls:
        goes_on = status is Status.RUNNING and not steps and not begins
        return reserved if goes_on else None
    for step in steps:
        if isinstance(step, ToolStep) and reserved is not None:
            cost = cost_of_calls(segment, (step.call,), prices)
            reserved = reserved.less(Amounts(0, cost, 1))
    return reserved
