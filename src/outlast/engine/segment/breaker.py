"""Keeps requests from models that fail: each model has a breaker in each process.

Five failures within 30 s, without an answer between them, switch a model off for 30 s. The first
request after that decides: the model stays off for the others until it has an answer, and if it
fails too, the model is off again.
"""

from typing import Final

import structlog

from outlast.model.clock import Clock

_FAILURES: Final = 5
_WINDOW_SECONDS: Final = 30.0
_OFF_SECONDS: Final = 30.0
_MOST: Final = 1000
"""Models that are remembered; callers may name any."""

logger = structlog.get_logger(__name__)


class Breakers:
    """Which models are off, by their names in agents."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, list[float]] = {}
        """Moments of the failures since the last answer."""
        self._off: dict[str, float] = {}
        """Until when a model is off, or was, if nothing has answered since."""
        self._deciding: set[str] = set()
        """Models that are off but for one request, which decides."""

    def is_off(self, model: str) -> bool:
        """Whether no request should go to the model now."""
        until = self._off.get(model)
        return until is not None and self._clock.monotonic() < until

    def used(self, model: str) -> None:
        """Note that a request goes to the model: the first since it was off decides."""
        if model in self._off and not self.is_off(model):
            self._deciding.add(model)
            self._off[model] = (
                self._clock.monotonic() + _OFF_SECONDS
            )  # if it is cut off, a later one

    def refused(self, model: str) -> None:
        """Note that the provider has refused a request: if that one was to decide, another does."""
        if model in self._deciding:
            self._deciding.discard(model)
            self._off[model] = self._clock.monotonic()

    def failed(self, model: str) -> None:
        """Count a failure of the provider, not one of the request."""
        now = self._clock.monotonic()
        if len(self._failures) >= _MOST:
            self._failures.clear()
            self._off.clear()
            self._deciding.clear()
        recent = [at for at in self._failures.get(model, ()) if now - at < _WINDOW_SECONDS]
        self._failures[model] = [*recent, now]
        if self.is_off(model) and model not in self._deciding:
            return
        if len(recent) + 1 < _FAILURES and model not in self._off:
            return
        self._deciding.discard(model)
        self._off[model] = now + _OFF_SECONDS
        logger.warning("model.off", model=model, seconds=_OFF_SECONDS)

    def answered(self, model: str) -> None:
        """Forget the model's failures."""
        if self._failures:
            self._failures.pop(model, None)
            self._off.pop(model, None)
            self._deciding.discard(model)
