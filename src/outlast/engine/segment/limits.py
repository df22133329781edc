"""What an execution may spend: a limit counts without superseded work, a budget all charges."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

from outlast.agents.estimate import request_tokens
from outlast.agents.port import MAX_CALLS, ModelRequest
from outlast.agents.prices.price_list import PriceList
from outlast.engine.segment.call_costs import cost_of_calls
from outlast.engine.segment.segment import Segment
from outlast.model.agent import AgentSpec
from outlast.model.amount import amount
from outlast.model.error import BudgetExceeded, LimitExceeded, ModelRejected, OutlastError
from outlast.model.execution import Budget, ModelStep
from outlast.model.message import ToolCall
from outlast.model.price import NANO, UNPRICED, ModelPrice, credits_of
from outlast.model.usage import Usage, characters

_UNBOUNDED: Final = Budget()


@dataclass(frozen=True, slots=True)
class _Bound:
    """An amount of tokens or billionths of a credit, and how much of it is spent."""

    most: int
    spent: int
    of_credits: bool
    error: type[OutlastError]

    def token(self, price: ModelPrice) -> int:
        """Amount per token of an answer."""
        return price.output if self.of_credits else 1

    def read(self, tokens: int, price: ModelPrice) -> int:
        """Return the amount that input takes."""
        return price.of(Usage(tokens)) if self.of_credits else tokens

    def used(self, step: ModelStep | None, price: ModelPrice) -> int:
        """Return the amount that an answer has taken."""
        if step is None:
            return 0
        return price.of(step.usage) if self.of_credits else step.usage.total_tokens

    def exceeded(self, spent: int) -> OutlastError:
        """Return the error that names the bound."""
        whose = "The agent's limit" if self.error is LimitExceeded else "The budget"
        if self.of_credits:
            most, used = f"{credits_of(self.most):.9g} credits", f"{credits_of(spent):.9g}"
        else:
            most, used = f"{self.most} tokens", str(spent)
        return self.error(f"{whose} of {most} is spent ({used} used).")


def _bounds(segment: Segment, spec: AgentSpec) -> list[_Bound]:
    execution, limits, budget = segment.execution, spec.limits, segment.execution.budget
    bounds: list[_Bound] = []
    if limits.max_tokens is not None:
        stands = execution.usage.total_tokens
        bounds.append(_Bound(limits.max_tokens, stands, False, LimitExceeded))
    if budget.max_tokens is not None:
        bounds.append(_Bound(budget.max_tokens, execution.charged_tokens, False, BudgetExceeded))
    if budget.max_credits is not None:
        most = round(budget.max_credits * NANO)
        bounds.append(_Bound(most, execution.credits, True, BudgetExceeded))
    return bounds


def settings_of(segment: Segment, spec: AgentSpec, prices: PriceList, model: str) -> dict[str, Any]:
    """Return the agent's settings, with what is left to spend as the answer's bound."""
    bounds = _bounds(segment, spec)
    if not bounds:
        return spec.settings
    price = prices.of_model(model)
    left = [
        (bound.most - bound.spent) // bound.token(price) for bound in bounds if bound.token(price)
    ]
    if not left:
        return spec.settings
    most = max(1, min(left))
    return {**spec.settings, "max_tokens": min(most, spec.settings.get("max_tokens", most))}


def bounded(
    segment: Segment, spec: AgentSpec, prices: PriceList, model: str, request: ModelRequest
) -> ModelRequest:
    """Return the request, its answer bounded to what the budget has left behind its input.

    A root's budget that has a row is left to that. Raises BudgetExceeded if there is no room for
    its input and a token.
    """
    if segment.execution.budget == _UNBOUNDED:
        return request
    bounds = [one for one in _bounds(segment, spec) if one.error is BudgetExceeded]
    has_row = any(one.owner == segment.execution.id for one in segment.applying)
    if not bounds or has_row:
        return request
    price, read = prices.of_model(model), input_tokens(segment, request)
    limit = request.answer_limit
    for bound in bounds:
        token = bound.token(price)
        left = bound.most - bound.spent - bound.read(read, price)
        if left < token:
            error = bound.exceeded(bound.spent)
            error.message += f" The next request has {amount(read, 'token')} of input."
            raise error
        if token and (limit is None or left // token < limit):
            limit = left // token
    if limit == request.answer_limit:
        return request
    return replace(request, settings={**request.settings, "max_tokens": limit})


def input_tokens(segment: Segment, request: ModelRequest) -> int:
    """Return the input of a request: as estimated, or as its predecessor's, if that is more."""
    last = next((s for s in reversed(segment.steps) if isinstance(s, ModelStep)), None)
    before = 0 if last is None or last.request_digest else last.usage.input_tokens
    return max(request_tokens(request), before)


def check_spent(segment: Segment, spec: AgentSpec, steps: int = 1) -> None:
    """Check whether `steps` more are allowed. Raises LimitExceeded, BudgetExceeded."""
    if (error := too_many_steps(segment, spec, steps)) is not None:
        raise error
    for bound in _bounds(segment, spec):
        if bound.spent >= bound.most:
            raise bound.exceeded(bound.spent)


def too_many_steps(
    segment: Segment, spec: AgentSpec, more: int, calls: int = 0
) -> OutlastError | None:
    """Return the error if `steps` more, `calls` of them tool calls, pass a bound; else None."""
    steps, budget = segment.execution.steps + more, segment.execution.budget
    if calls > MAX_CALLS:
        return LimitExceeded(
            f"The answer holds {calls} tool calls or more; one answer may hold {MAX_CALLS}. None "
            "was begun."
        )
    passed = _passed(calls) if calls else ""
    if steps > spec.limits.max_steps:
        limit = spec.limits.max_steps
        return LimitExceeded(f"The agent's limit of {amount(limit, 'step')} is reached.{passed}")
    if budget.max_steps is not None and steps > budget.max_steps:
        return BudgetExceeded(f"The budget of {amount(budget.max_steps, 'step')} is spent.{passed}")
    return None


def too_dear(
    segment: Segment,
    spec: AgentSpec,
    prices: PriceList,
    calls: Sequence[ToolCall],
    step: ModelStep | None = None,
) -> OutlastError | None:
    """Return the error if calls cost more credits than are left; None if they fit or are free.

    `step`: the answer that they are in, which is not recorded yet.
    """
    for bound in _bounds(segment, spec):
        if not bound.of_credits:
            continue
        cost = cost_of_calls(segment, calls, prices)
        model = prices.of_model(segment.model, "" if step is None else step.model)
        spent = bound.spent + bound.used(step, model)
        if cost and spent + cost > bound.most:
            error = bound.exceeded(spent)
            error.message += _passed(len(calls))
            return error
    return None


def _passed(calls: int) -> str:
    return f" The answer's {amount(calls, 'tool call')} would pass it; none was begun."


class Meter:
    """Bounds a streamed answer to what its request was allowed; tokens are estimated.

    The request's own tokens are left to the provider's figures.
    """

    __slots__ = ("_bounds", "_characters", "_most", "_price")

    def __init__(self, segment: Segment, spec: AgentSpec, prices: PriceList) -> None:
        self._bounds = _bounds(segment, spec)
        self._price = prices.of_model(segment.model) if self._bounds else UNPRICED
        self._characters = 0
        self._most = min(map(self._left, self._bounds)) if self._bounds else inf

    @property
    def holds(self) -> bool:
        """Whether there is a bound."""
        return self._most != inf

    def _left(self, bound: _Bound) -> float:
        """Characters that the answer may still have."""
        of_one = bound.token(self._price)
        return characters(max(0, bound.most - bound.spent) // of_one) if of_one else inf

    def add(self, length: int) -> None:
        """Count characters of text or of a tool call. Raises LimitExceeded, BudgetExceeded."""
        self._characters += length
        if self._characters > self._most:
            tokens = -(-self._characters // characters(1))
            for bound in self._bounds:
                total = bound.spent + tokens * bound.token(self._price)
                if total > bound.most:
                    raise bound.exceeded(total)


def end_error(
    segment: Segment, spec: AgentSpec, prices: PriceList, step: ModelStep | None = None
) -> OutlastError | None:
    """Return the error that a last answer ends in; `step` is an unrecorded one."""
    last = segment.steps[-1] if step is None else step
    assert isinstance(last, ModelStep)
    return overspent(segment, spec, prices, step) or _unsaid(last)


def overspent(
    segment: Segment,
    spec: AgentSpec,
    prices: PriceList,
    step: ModelStep | None = None,
) -> OutlastError | None:
    """Return the error if more was spent than allowed, an unrecorded answer included.

    Also if the answer was cut off because nothing was left.
    """
    bounds = _bounds(segment, spec)
    if not bounds:
        return None
    price = prices.of_model(segment.model, "" if step is None else step.model)
    cut_off = step is not None and step.finish_reason == "length"
    unread = _unread(segment, step) if step is not None and cut_off else 0
    for bound in bounds:
        total = bound.spent + bound.used(step, price)
        kept = bound.read(unread, price) if bound.error is BudgetExceeded else 0
        if total > bound.most or (cut_off and total + kept + bound.token(price) > bound.most):
            return bound.exceeded(total)
    return None


def _unread(segment: Segment, step: ModelStep) -> int:
    """Return how many tokens of input less than estimated an answer has cost."""
    if segment.request is None:
        return 0
    return max(0, input_tokens(segment, segment.request) - step.usage.input_tokens)


def _unsaid(step: ModelStep) -> OutlastError | None:
    """Return the error if a last answer has no word because something else than its end ended it.

    An answer that is cut off later keeps what it says; its step has the finish reason.
    """
    if step.message.text.strip():
        return None
    match step.finish_reason:
        case "content_filter":
            return ModelRejected(
                f"{step.model}: the provider's content filter withheld the answer."
            )
        case "length":
            return LimitExceeded(
                f"{step.model}: the maximum tokens of an answer were used before its first word, "
                "as by reasoning; raise maxTokens in the agent's settings."
            )
        case _:
            return None
