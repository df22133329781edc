"""Finds what would keep an agent from running, before its first execution.

That is a model that cannot be created (a misspelt provider, a missing key or extra), or unset
environment variables that tools name. Models of pydantic-ai are checked separately: creating one
imports its provider's SDK, which takes seconds.
"""

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from outlast.agents.models.bridge import PROVIDERS
from outlast.agents.port import Models
from outlast.agents.tools import kinds
from outlast.model.agent import AgentSpec
from outlast.model.error import Misconfigured


@dataclass(frozen=True, slots=True)
class NotReady:
    """A reason that keeps an agent from running."""

    agent: str
    problem: str
    """One sentence, with the remedy."""

    def __str__(self) -> str:
        return f'agent "{self.agent}": {self.problem}'


def is_slow(spec: AgentSpec, models: Models) -> bool:
    """Whether creating the agent's model imports a provider's SDK."""
    kinds_of = {models.kind(choice.name).removeprefix("gateway/") for choice in spec.models}
    return bool(kinds_of & PROVIDERS) and importlib.util.find_spec("pydantic_ai") is not None


def not_ready(
    specs: Iterable[AgentSpec], models: Models, environment: Mapping[str, str]
) -> Iterator[NotReady]:
    """Create each agent's models, and check the variables that its tools name."""
    for spec in specs:
        for choice in spec.models:
            if (problem := model_problem(choice.name, models)) is not None:
                yield NotReady(spec.name, problem)
        yield from tools_not_ready(spec, environment)


def model_problem(model: str, models: Models) -> str | None:
    """Return why a model cannot be created, with the remedy; None if it can."""
    try:
        models.find(model)
    except Misconfigured as error:
        return error.message
    return None


def tools_not_ready(spec: AgentSpec, environment: Mapping[str, str]) -> Iterator[NotReady]:
    """Yield what the environment lacks for the agent's tools, such as variables."""
    for tool in spec.tools:
        kind = kinds.find(tool.kind)
        lacks = None if kind is None else kind.not_ready(tool, environment)
        if lacks is not None:
            yield NotReady(spec.name, f'tool "{tool.name}" {lacks}')
