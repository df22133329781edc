# ruff: noqa: E501 - an exact message stands on one line
"""Agents written in Python, and what they cost to import."""

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

import outlast
from outlast import Agent, Limits, ToolContext, tool
from outlast.model.agent import Effect, HttpCall, ToolSpec
from outlast.model.error import Misconfigured
from outlast.model.spec_json import spec_digest, spec_from_dict, spec_to_dict


@tool(effect="read_only", timeout=5)
async def lookup_order(
    order_id: str, context: ToolContext, day: date | None = None
) -> dict[str, str]:
    """Look up an order by its id.

    Args:
        order_id: As printed on
            the invoice.
        day: Only of this day.
    """
    return {"order": order_id, "execution": context.execution_id, "day": str(day)}


@tool
def refund(
    amount: Annotated[int, Field(gt=0, description="In cents")], why: Literal["a", "b"] = "a"
) -> None:
    """Refund.

    :param amount: Not taken, the hint has one.
    :param why: The reason.
    """


def numpy_style(count: int) -> int:
    """Count.

    Parameters
    ----------
    count : int
        How many.
    """
    return count


def test_a_decorated_function_becomes_a_tool_with_schema_and_descriptions() -> None:
    agent = Agent("support", model="scripted:x", instructions="Help.", tools=[lookup_order])
    spec = agent.spec.tools[0]
    assert spec == ToolSpec(
        "lookup_order",
        "Look up an order by its id.",
        {
            "type": "object",
            "properties": {
                "order_id": {"type": "string", "description": "As printed on the invoice."},
                "day": {
                    "anyOf": [{"format": "date", "type": "string"}, {"type": "null"}],
                    "default": None,
                    "description": "Only of this day.",
                },
            },
            "required": ["order_id"],
            "additionalProperties": False,
        },
        effect=Effect.READ_ONLY,
        timeout=5.0,
        python=f"{__name__}:lookup_order",
    )
    assert list(agent.functions) == [spec.python]


def test_the_decorator_without_parentheses_means_a_destructive_tool() -> None:
    spec = Agent("a", model="m", tools=[refund]).spec.tools[0]
    assert (spec.effect, spec.approval, spec.description) == (Effect.DESTRUCTIVE, False, "Refund.")
    assert spec.parameters["properties"]["amount"]["description"] == "In cents"
    assert spec.parameters["properties"]["why"]["description"] == "The reason."


def test_a_plain_function_and_numpy_docstrings_are_read() -> None:
    spec = Agent("a", model="m", tools=[numpy_style]).spec.tools[0]
    assert spec.parameters["properties"]["count"] == {"type": "integer", "description": "How many."}


def test_a_decorated_function_can_still_be_called() -> None:
    assert tool(name="other")(numpy_style)(3) == 3
    del numpy_style.__outlast_tool__  # type: ignore[attr-defined]


def test_builtins_and_http_tools_stand_beside_functions() -> None:
    http = ToolSpec("shop", "", {"type": "object"}, http=HttpCall("https://shop.example/x"))
    agent = Agent("a", model="m", tools=["calculator", http], limits=Limits(max_steps=3))
    assert [t.name for t in agent.spec.tools] == ["calculator", "shop"]
    assert agent.spec.tools[0].effect is Effect.READ_ONLY


def _star(*words: str) -> None: ...


def _untyped(x) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001 - the fault under test


def _unwritable(x: Agent) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "a b"},
            "agent \"a b\", name: 'a b' is not an agent's name: 1 to 64 letters, digits, _ and -",
        ),
        (
            {"tool_choice": "nix", "tools": [refund]},
            "agent \"a\", tool_choice: there is no tool 'nix'; the agent's tools: refund; or write auto, none or required",
        ),
        (
            {"tool_choice": "required"},
            'agent "a", tool_choice: a tool is required, but the agent has none',
        ),
        (
            {"tools": [refund, refund]},
            'agent "a", tool "refund", name: two tools are called \'refund\'; give one another name',
        ),
        (
            {"tools": ["browser"]},
            "agent \"a\": there is no builtin tool 'browser'; there are calculator, datetime",
        ),
        (
            {"tools": [_star]},
            f'agent "a", tools: {__name__}:_star takes *words: str; write out each parameter with its name',
        ),
        (
            {"tools": [_untyped]},
            f'agent "a", tools: parameter x of {__name__}:_untyped has no type hint; add one',
        ),
        ({"limits": Limits(max_steps=0)}, 'agent "a", limits.max_steps: greater than 0'),
        (
            {"settings": {"heat": 1}},
            (
                'agent "a", settings.heat: unknown key; known: temperature, max_tokens, '
                "max_completion_tokens, reasoning_effort, top_p, stop, seed, web_search"
            ),
        ),
        (
            {"tools": [ToolSpec("t", "", {"type": "object"}, http=HttpCall("file:///x"))]},
            'agent "a", tool "t", http.url: a tool\'s URL begins with http:// or https:// and a host',
        ),
        (
            {"tools": [ToolSpec("t", "", {"type": "object"})]},
            'agent "a", tool "t": a tool has exactly one of http, python, builtin, agent, client, openapi, mcp, webFetch, webSearch and browser; found none',
        ),
    ],
)
def test_a_wrong_agent_is_refused_naming_the_key(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        Agent(**{"name": "a", "model": "m"} | arguments)
    assert raised.value.message == message


def test_a_type_that_json_cannot_carry_is_refused() -> None:
    with pytest.raises(Misconfigured, match="_unwritable has a type that JSON cannot carry"):
        Agent("a", model="m", tools=[_unwritable])


def test_an_unknown_effect_is_refused() -> None:
    with pytest.raises(Misconfigured, match="effect 'safe' is none of"):
        tool(effect="safe")  # type: ignore[call-overload]


def test_two_functions_of_one_name_are_refused() -> None:
    def make(number: int) -> Callable[[], int]:
        def inner() -> int:
            return number

        return inner

    with pytest.raises(Misconfigured, match="two functions are called"):
        Agent("a", model="m", tools=[tool(name="x")(make(1)), tool(name="y")(make(2))])


def test_a_spec_survives_json_and_keeps_its_digest() -> None:
    http = HttpCall("https://shop.example/x", {"Authorization": "Bearer ${TOKEN}"}, 10.0, 2)
    tools: list[Any] = [
        lookup_order,
        "datetime",
        ToolSpec("shop", "", {"type": "object"}, http=http),
    ]
    spec = Agent("a", model="m", tools=tools, settings={"temperature": 0, "stop": ["x"]}).spec
    again = spec_from_dict(spec_to_dict(spec))
    assert again == spec
    assert spec_digest(again) == spec_digest(spec)


def test_the_order_of_keys_changes_no_digest() -> None:
    one = Agent("a", model="m", settings={"seed": 1, "temperature": 0})
    other = Agent("a", model="m", settings={"temperature": 0, "seed": 1})
    assert spec_digest(one.spec) == spec_digest(other.spec)


def test_the_digest_changes_with_anything_a_model_or_tool_could_notice() -> None:
    def digest(**more: Any) -> str:
        return spec_digest(Agent("a", **{"model": "m"} | more).spec)

    variants: list[dict[str, Any]] = [
        {},
        {"model": "n"},
        {"instructions": "x"},
        {"tools": ["datetime"]},
        {"tools": ["datetime"], "tool_choice": "datetime"},
        {"limits": Limits(max_seconds=None)},
        {"settings": {"temperature": 0.0}},
        {"tools": [ToolSpec("t", "", {"type": "object", "const": None}, builtin="datetime")]},
        {"tools": [ToolSpec("t", "", {"type": "object"}, builtin="datetime")]},
    ]
    assert len({digest(**variant) for variant in variants}) == len(variants)


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, outlast; print([m for m in sys.modules if m.startswith(('outlast.', 'pydantic'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_has_the_names_it_lists() -> None:
    assert all(getattr(outlast, name) for name in outlast.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'agency'"):
        outlast.agency  # noqa: B018 - asking is the test
