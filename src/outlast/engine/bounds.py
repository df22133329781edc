"""What an execution may spend: a limit counts what stands, a budget all that was charged."""

from dataclasses import dataclass
from typing import Any

from outlast.engine.segment import Segment
from outlast.model.agent import AgentSpec
from outlast.model.error import BudgetExceeded, LimitExceeded, OutlastError
from outlast.model.execution import ModelStep
from outlast.model.price import NANO, UNPRICED, ModelPrice, credits_of


@dataclass(frozen=True, slots=True)
class _Bound:
    """So many tokens, or billionths of a credit, and how many of them are spent."""

    most: int
    spent: int
    of_credits: bool
    error: type[OutlastError]

    def token(self, price: ModelPrice) -> int:
        """What one more token of an answer takes."""
        return price.output if self.of_credits else 1

    def used(self, step: ModelStep | None, price: ModelPrice) -> int:
        """What an answer has taken."""
        if step is None:
            return 0
        return price.of(step.usage) if self.of_credits else step.usage.total_tokens

    def exceeded(self, spent: int) -> OutlastError:
        """The error that says whose bound it is."""
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


def settings_of(segment: Segment, spec: AgentSpec, price: ModelPrice) -> dict[str, Any]:
    """The agent's settings, with what is left to spend as the answer's bound."""
    left = [
        (bound.most - bound.spent) // bound.token(price)
        for bound in _bounds(segment, spec)
        if bound.token(price)
    ]
    if not left:
        return spec.settings
    most = max(1, min(left))
    return {**spec.settings, "max_tokens": min(most, spec.settings.get("max_tokens", most))}


def check_spent(segment: Segment, spec: AgentSpec) -> None:
    """Whether another step is allowed. Raises LimitExceeded, BudgetExceeded."""
    steps, budget = segment.execution.steps, segment.execution.budget
    if steps >= spec.limits.max_steps:
        raise LimitExceeded(f"The agent's limit of {spec.limits.max_steps} steps is reached.")
    if budget.max_steps is not None and steps >= budget.max_steps:
        raise BudgetExceeded(f"The budget of {budget.max_steps} steps is spent.")
    for bound in _bounds(segment, spec):
        if bound.spent >= bound.most:
            raise bound.exceeded(bound.spent)


def overspent(
    segment: Segment,
    spec: AgentSpec,
    step: ModelStep | None = None,
    price: ModelPrice = UNPRICED,
) -> OutlastError | None:
    """Whether more was spent than is allowed, with an answer that is not recorded yet.

    Also where the answer was cut off because nothing was left.
    """
    cut_off = step is not None and step.finish_reason == "length"
    for bound in _bounds(segment, spec):
        total = bound.spent + bound.used(step, price)
        if total > bound.most or (cut_off and total + bound.token(price) > bound.most):
            return bound.exceeded(total)
    return None
