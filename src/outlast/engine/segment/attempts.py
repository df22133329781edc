"""The attempts of one model step: which model is tried, how often, and which is next.

A model is tried again after a temporary failure. Where the agent has several models, the next one
is tried after that, at once if the provider asks for more than a short wait.
"""

from typing import Final

from outlast.engine.segment.breaker import Breakers
from outlast.model.agent import FALLBACK_DEFAULT, AgentSpec, ModelChoice, shown_model
from outlast.model.clock import Clock
from outlast.model.error import (
    ContextTooLong,
    Misconfigured,
    ModelRateLimited,
    ModelUnavailable,
    OutlastError,
    Upstream,
)

_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0
_PATIENCE: Final = 5.0
"""Longest wait, in seconds, that a provider may ask for while another model can be tried."""
_CHAIN_SECONDS: Final = 60.0
"""How long after the first request of a chain a model is tried again; each is tried once."""


class Attempts:
    """The state of one step's attempts."""

    __slots__ = (
        "_attempts",
        "_began",
        "_breakers",
        "_chain",
        "_clock",
        "_failed",
        "_on",
        "_retries",
        "model",
    )

    def __init__(self, spec: AgentSpec, retries: int, breakers: Breakers, clock: Clock) -> None:
        """`retries`: how often each model is tried again."""
        self._chain = spec.chain
        """The model that is tried, and those that may follow it; empty for a single model."""
        self._on = spec.fallback_on or FALLBACK_DEFAULT
        self._retries = retries
        self._breakers = breakers
        self._clock = clock
        self._attempts = 0
        """Failed attempts of the model."""
        self._failed: list[str] = []
        """Models that were given up, each with its error's code."""
        self._began = 0.0
        self.model = spec.model
        """The model to try."""
        if self._chain:
            self._began = clock.monotonic()
            self._use(self._without_off(self._chain))

    @property
    def number(self) -> int:
        """Number of the model's try, from 1."""
        return self._attempts + 1

    def answered(self) -> None:
        """Note that the model has answered."""
        self._breakers.answered(self.model)

    def after(self, error: OutlastError) -> float | None:
        """Return the seconds to wait before the next try, of `model`; None if there is none."""
        if isinstance(error, ModelUnavailable | ModelRateLimited):
            self._breakers.failed(self.model)
        elif isinstance(error, Upstream):
            self._breakers.refused(self.model)
        following = self._following(error)
        if self._repeats(error, patience=_PATIENCE if following else _LONGEST_WAIT):
            wait = _FIRST_WAIT * (1 << self._attempts)
            self._attempts += 1
            wait_given = error.retry_after if isinstance(error, Upstream) else None
            return min(max(wait, wait_given or 0.0), _LONGEST_WAIT)
        if not following:
            return None
        self._failed.append(f"{shown_model(self.model)}: {error.code}")
        self._use(following)
        return 0.0

    def final(self, error: OutlastError) -> OutlastError:
        """Return the error of the last model, with those before it."""
        if not (self._failed and isinstance(error, Upstream)):
            return error
        text = f"{error.message} (tried before: {', '.join(self._failed)})"
        return type(error)(text, retry_after=error.retry_after, passing=error.passing)

    def _use(self, chain: tuple[ModelChoice, ...]) -> None:
        self._chain, self._attempts = chain, 0
        self.model = chain[0].name
        self._breakers.used(self.model)

    def _repeats(self, error: OutlastError, *, patience: float) -> bool:
        """Whether a retry may succeed, and within the time that we wait."""
        if not (isinstance(error, Upstream) and error.passing and self._attempts < self._retries):
            return False
        if (error.retry_after or 0.0) > patience:
            return False
        if len(self._chain) <= 1 and not self._failed:
            return True
        late = self._clock.monotonic() - self._began >= _CHAIN_SECONDS
        return not late and not (len(self._chain) > 1 and self._breakers.is_off(self.model))

    def _following(self, error: OutlastError) -> tuple[ModelChoice, ...]:
        """Return the models that may answer in this one's place."""
        if len(self._chain) <= 1:
            return ()
        first, *later = self._chain
        match error:
            case ContextTooLong() if error.code in self._on:
                size = first.context_tokens or 0
                larger = next(
                    (n for n, one in enumerate(later) if (one.context_tokens or 0) > size), None
                )
                return () if larger is None else tuple(later[larger:])
            case Misconfigured():
                pass
            case Upstream() if error.code in self._on:
                pass
            case _:
                return ()
        return self._without_off(tuple(later))

    def _without_off(self, chain: tuple[ModelChoice, ...]) -> tuple[ModelChoice, ...]:
        """Return the chain from the first model that is not off; all of it if every one is."""
        on = (n for n, one in enumerate(chain) if not self._breakers.is_off(one.name))
        return chain[next(on, 0) :]
