"""Which model of a chain is tried next, after what wait, and which ones are off."""

import pytest

from outlast.engine.segment.attempts import Attempts
from outlast.engine.segment.breaker import Breakers
from outlast.model.agent import AgentSpec, ModelChoice
from outlast.model.error import (
    BudgetExceeded,
    ContextTooLong,
    Misconfigured,
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
    OutlastError,
)
from outlast.testing import FakeClock

DOWN = ModelUnavailable("down")


def chain(*names: str | ModelChoice, on: tuple[str, ...] = ()) -> AgentSpec:
    choices = tuple(one if isinstance(one, ModelChoice) else ModelChoice(one) for one in names)
    return AgentSpec("agent", choices[0].name, chain=choices, fallback_on=on)


class Trial:
    """One step's attempts, by the same breakers as those before it."""

    def __init__(self, *names: str | ModelChoice, on: tuple[str, ...] = ()) -> None:
        self.clock = FakeClock()
        self.breakers = Breakers(self.clock)
        self.spec = chain(*names, on=on)
        self.again()

    def again(self) -> None:
        self.attempts = Attempts(self.spec, 2, self.breakers, self.clock)

    def after(self, *errors: OutlastError) -> list[tuple[float | None, str]]:
        """What follows each error: seconds to wait, and the model that is tried then."""
        return [(self.attempts.after(error), self.attempts.model) for error in errors]


def test_each_model_is_tried_three_times_before_the_next() -> None:
    trial = Trial("a", "b")
    assert trial.after(*[DOWN] * 6) == [
        (0.5, "a"),
        (1.0, "a"),
        (0.0, "b"),
        (0.5, "b"),
        (1.0, "b"),
        (None, "b"),
    ]
    final = trial.attempts.final(DOWN)
    assert type(final) is ModelUnavailable
    assert final.message == "down (tried before: a: model_unavailable)"


def test_the_only_model_is_tried_as_ever_and_its_error_stays() -> None:
    trial = Trial("a")
    trial.clock.advance(100)
    slow = ModelUnavailable("slow", retry_after=20)
    assert trial.after(slow, slow, slow) == [(20.0, "a"), (20.0, "a"), (None, "a")]
    assert trial.attempts.final(slow) is slow
    trial.again()
    assert trial.after(ModelRateLimited("later", retry_after=31)) == [(None, "a")]


@pytest.mark.parametrize(
    ("error", "then"),
    [
        (ModelRateLimited("soon", retry_after=5), (5.0, "a")),
        (ModelRateLimited("later", retry_after=5.1), (0.0, "b")),
        (ModelRateLimited("unknown"), (0.5, "a")),
        (ModelRateLimited("spent", passing=False), (0.0, "b")),
        (ModelUnavailable("later", retry_after=6), (0.0, "b")),
        (ModelUnavailable("too large", passing=False), (0.0, "b")),
        (Misconfigured("no key"), (0.0, "b")),
        (ModelRejected("unsafe"), (None, "a")),
        (ContextTooLong("long"), (None, "a")),
        (BudgetExceeded("spent"), (None, "a")),
    ],
    ids=lambda one: one.message if isinstance(one, OutlastError) else None,
)
def test_an_error_decides_what_is_tried_next(
    error: OutlastError, then: tuple[float | None, str]
) -> None:
    assert Trial("a", "b").after(error) == [then]


def test_the_last_model_waits_as_the_only_one_does() -> None:
    trial = Trial("a", "b")
    slow = ModelRateLimited("later", retry_after=20)
    assert trial.after(slow, slow) == [(0.0, "b"), (20.0, "b")]


def test_what_is_named_in_fallback_on_and_nothing_else_goes_on() -> None:
    trial = Trial("a", "b", on=("model_rejected",))
    assert trial.after(ModelRejected("unsafe")) == [(0.0, "b")]
    trial.again()
    assert trial.after(*[DOWN] * 3) == [(0.5, "a"), (1.0, "a"), (None, "a")]


def test_a_request_that_is_too_long_goes_to_a_larger_model_alone() -> None:
    small, same, large = (ModelChoice(n, t) for n, t in (("s", 10), ("m", 10), ("l", 11)))
    long = ContextTooLong("long")
    assert Trial(small, same, "unknown", large).after(long, long) == [(0.0, "l"), (None, "l")]
    assert Trial("unknown", small).after(long) == [(0.0, "s")]
    assert Trial(large, small).after(long) == [(None, "l")]
    assert Trial(small, large, on=("model_unavailable",)).after(long) == [(None, "s")]


def test_after_a_minute_each_model_is_tried_once() -> None:
    trial = Trial("a", "b", "c")
    trial.clock.advance(59)
    assert trial.after(DOWN) == [(0.5, "a")]
    trial.clock.advance(1)
    assert trial.after(DOWN, DOWN, DOWN) == [(0.0, "b"), (0.0, "c"), (None, "c")]


def test_five_failures_within_thirty_seconds_switch_a_model_off_for_thirty() -> None:
    trial = Trial("a", "b")
    trial.after(*[DOWN] * 3)
    trial.attempts.answered()
    trial.again()
    trial.clock.advance(29)
    assert trial.after(DOWN, DOWN) == [(0.5, "a"), (0.0, "b")]  # it is off: no third try
    trial.again()
    assert trial.attempts.model == "b"
    trial.clock.advance(30)
    trial.again()
    assert trial.attempts.model == "a"
    assert trial.after(DOWN) == [(0.0, "b")]  # its first failure decides
    trial.again()
    assert trial.attempts.model == "b"
    trial.clock.advance(30)
    trial.again()
    trial.attempts.answered()
    assert trial.after(DOWN) == [(0.5, "a")]


def test_one_request_decides_whether_a_model_is_on_again() -> None:
    trial = Trial("a", "b")
    for _ in range(5):
        trial.breakers.failed("a")

    def models(count: int) -> list[str]:
        made = [Attempts(trial.spec, 2, trial.breakers, trial.clock) for _ in range(count)]
        return [one.model for one in made]

    trial.clock.advance(30)
    trial.again()
    assert (trial.attempts.model, models(3)) == ("a", ["b", "b", "b"])
    assert trial.after(DOWN) == [(0.0, "b")]
    trial.breakers.failed("a")  # a request from before: the model is off no longer for it
    trial.clock.advance(30)
    trial.again()
    trial.after(ModelRejected("unsafe"))
    trial.again()
    assert (trial.attempts.model, models(1)) == ("a", ["b"])  # a refusal has not decided
    trial.clock.advance(30)
    assert models(2) == ["a", "b"]  # nor has one that was cut off
    trial.attempts.answered()
    assert models(2) == ["a", "a"]


def test_a_model_that_may_follow_is_not_off_for_others_before_it_is_tried() -> None:
    trial = Trial("a", "b", "c")
    for _ in range(5):
        trial.breakers.failed("b")
    trial.clock.advance(30)
    assert trial.after(DOWN, DOWN, DOWN) == [(0.5, "a"), (1.0, "a"), (0.0, "b")]
    other = Attempts(chain("b", "c"), 2, trial.breakers, trial.clock)
    assert other.model == "c"  # b is tried now, and that one decides


def test_failures_that_are_old_or_before_an_answer_switch_nothing_off() -> None:
    breakers = Breakers(clock := FakeClock())
    for _ in range(4):
        breakers.failed("a")
    clock.advance(30)
    for _ in range(4):
        breakers.failed("a")
    breakers.answered("a")
    for _ in range(4):
        breakers.failed("a")
    assert not breakers.is_off("a")
    breakers.failed("a")
    assert breakers.is_off("a")
    assert not breakers.is_off("b")


def test_models_that_are_all_off_are_tried_all_the_same() -> None:
    trial = Trial("a", "b", "c")
    for _ in range(5):
        trial.breakers.failed("b")
    assert trial.after(*[DOWN] * 3)[-1] == (0.0, "c")
    for name in "ac":
        for _ in range(5):
            trial.breakers.failed(name)
    trial.again()
    assert trial.attempts.model == "a"
    assert trial.after(DOWN, DOWN, DOWN) == [(0.0, "b"), (0.0, "c"), (0.5, "c")]


def test_a_request_that_is_refused_is_no_failure_of_the_model() -> None:
    trial = Trial("a", on=())
    for _ in range(9):
        trial.after(ModelRejected("unsafe"), ContextTooLong("long"), Misconfigured("no key"))
    assert not trial.breakers.is_off("a")
