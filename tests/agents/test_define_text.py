# ruff: noqa: E501 - an exact message stands on one line
"""What is no text where an agent is defined, such as a model that is an object."""

from typing import Any

import pytest

from outlast import Agent, agent
from outlast.model.error import Misconfigured

BY_NAME = "every process makes it by its name"


class _Model:
    """A model of another library."""

    system = "anthropic"
    model_name = "claude-sonnet-5-5"


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"model": _Model()},
        f"agent \"a\", model: should be text, not _Model; name the model, as in 'anthropic:claude-sonnet-5-5': {BY_NAME}",
    ),
    (
        {"model": object()},
        f"agent \"a\", model: should be text, not object; name the model, as in 'openai-chat:gpt-5-mini': {BY_NAME}",
    ),
    (
        {"model": None},
        f"agent \"a\", model: should be text, not NoneType; name the model, as in 'openai-chat:gpt-5-mini': {BY_NAME}",
    ),
    ({"instructions": ["Be kind."]}, 'agent "a", instructions: should be text, not list'),
    ({"description": 7}, 'agent "a", description: should be text, not int'),
    ({"name": _Model}, "name: should be text, not type"),
]


@pytest.mark.parametrize(("given", "expected"), WRONG)
def test_what_is_no_text_is_refused_where_the_agent_is_defined(
    given: dict[str, Any], expected: str
) -> None:
    with pytest.raises(Misconfigured) as raised:
        Agent(**({"name": "a", "model": "m:x"} | given))
    assert raised.value.message == expected


def test_a_model_of_pydantic_ai_is_refused_for_code_agents_too() -> None:
    models = pytest.importorskip("pydantic_ai.models.test")
    define = agent(model=models.TestModel(), name="a")

    async def loop(_context: Any, _given: str) -> str:
        return "done"

    with pytest.raises(Misconfigured, match="model: should be text, not TestModel; name the model"):
        define(loop)
