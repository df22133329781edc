"""`outlast models check`: one small request to each model."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.port import Answer, Model, ModelRequest
from outlast.cli.composition import providers_of, read_agents
from outlast.model.clock import Clock, SystemClock
from outlast.model.error import Misconfigured, OutlastError
from outlast.model.message import UserMessage
from outlast.settings import Settings

_SECONDS: Final = 60.0
"""Timeout of the request to a model, in seconds."""
_AT_ONCE: Final = 8
_REQUEST: Final = ModelRequest("", (UserMessage("Reply with the word OK."),))
"""Without a token limit: a reasoning model may need some before its first word."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of the request to one model."""

    model: str
    seconds: float
    answered_by: str = ""
    """The model's name in the provider's answer."""
    problem: str | None = None
    """Why there is no answer; None if there is one."""

    @property
    def result(self) -> str:
        """`ok` or `failed`."""
        return "ok" if self.problem is None else "failed"

    @property
    def text(self) -> str:
        """The model that answered, or why there is no answer."""
        return self.answered_by if self.problem is None else self.problem

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            "model": self.model,
            "ok": self.problem is None,
            "seconds": round(self.seconds, 3),
            "answeredBy": self.answered_by or None,
            "problem": self.problem,
        }


async def check(settings: Settings, names: list[str]) -> list[Checked]:
    """Send a request to each model; without names, to those of the agents file.

    Raises Misconfigured if there is none.
    """
    loaded = read_agents(settings)
    wanted = list(dict.fromkeys(names or loaded.models))
    if not wanted:
        raise Misconfigured(
            "There is no model to check: name one, or an agents file with --agents FILE, or "
            "write one: outlast init"
        )
    clock = SystemClock()
    models = ModelCatalogue(clock, settings.data_dir, providers=providers_of(settings, loaded))
    places = asyncio.Semaphore(_AT_ONCE)
    try:
        return await asyncio.gather(*(_check(models, name, clock, places) for name in wanted))
    finally:
        await models.close()


async def _check(
    models: ModelCatalogue, name: str, clock: Clock, places: asyncio.Semaphore
) -> Checked:
    async with places:
        began = clock.monotonic()
        try:
            async with asyncio.timeout(_SECONDS):
                answered = await _answer(await asyncio.to_thread(models.find, name))
        except OutlastError as error:
            return Checked(name, clock.monotonic() - began, problem=error.message)
        except TimeoutError:
            problem = f"It gave no complete answer in {_SECONDS:g} s."
            return Checked(name, clock.monotonic() - began, problem=problem)
        return Checked(name, clock.monotonic() - began, answered)


async def _answer(model: Model) -> str:
    answered = ""
    async with aclosing(model.stream(_REQUEST)) as events:
        async for event in events:
            if isinstance(event, Answer):
                answered = event.model
    return answered
