"""The active time that an execution has left."""

from outlast.engine.segment.segment import Segment
from outlast.model.amount import amount
from outlast.model.error import BudgetExceeded, LimitExceeded, OutlastError


def seconds_left(segment: Segment, monotonic: float) -> float:
    """Return the active time that the execution has left, in seconds."""
    if segment.agent is None:
        return float("inf")
    execution = segment.execution
    began = monotonic if segment.began is None else segment.began
    spent = execution.active_ms / 1000 + monotonic - began
    left = (
        (segment.agent.spec.limits.max_seconds, spent - execution.resumed_ms / 1000),
        (execution.budget.max_seconds, spent),
    )
    own = (limit - spent for limit, spent in left if limit is not None)
    return min(segment.budgets_until - monotonic, *own, float("inf"))


def out_of_time(segment: Segment, monotonic: float) -> OutlastError:
    """Return the error that names the bound that was reached."""
    assert segment.agent is not None
    if segment.budgets_until <= monotonic:
        owners = " or ".join(one.owner for one in segment.timed)
        return BudgetExceeded(f"The budget of {owners} has no seconds left.")
    limit, budget = segment.agent.spec.limits.max_seconds, segment.execution.budget.max_seconds
    if budget is not None and (limit is None or budget < limit):
        return BudgetExceeded(f"The budget of {amount(budget, 'second')} is spent.")
    assert limit is not None, "one of the two was reached"
    return LimitExceeded(f"The agent's limit of {amount(limit, 'second')} is reached.")
