"""A tool's ToolContext, however it is spelt: given and hidden, or refused at the start."""

from collections.abc import Callable
from typing import Annotated, Any, NewType, Optional, TypeVar, Union

import pytest
from typing_extensions import TypeAliasType

from outlast import Agent, ToolContext, tool
from outlast.agents.tools.signature import read_function
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured

pytestmark = pytest.mark.anyio
CONTEXT = ToolContext("ws_1", "exec_1", "tc_1", user="ann")
Alias = TypeAliasType("Alias", ToolContext | None)
Named = NewType("Named", ToolContext)
Bound = TypeVar("Bound", bound=ToolContext)


class Wider(ToolContext):
    """A context of the operator's own."""


def plain(order: str, context: ToolContext) -> list[Any]:
    return [order, context.user]


def or_none(order: str, context: ToolContext | None = None) -> list[Any]:
    return [order, context and context.user]


def optional(order: str, context: Optional[ToolContext] = None) -> list[Any]:  # noqa: UP045
    return [order, context and context.user]


def union(order: str, context: Union[ToolContext, None] = None) -> list[Any]:  # noqa: UP007
    return [order, context and context.user]


def annotated(order: str, context: Annotated[ToolContext | None, "ours"] = None) -> list[Any]:
    return [order, context and context.user]


def inside(order: str, context: Annotated[ToolContext, "ours"] | None = None) -> list[Any]:
    return [order, context and context.user]


def text(order: str, context: "ToolContext | None" = None) -> list[Any]:
    return [order, context and context.user]


def quoted(order: str, *, context: "Optional[ToolContext]" = None) -> list[Any]:  # noqa: UP045
    return [order, context and context.user]


def alias(order: str, context: Alias = None) -> list[Any]:
    return [order, context and context.user]


def named(order: str, context: Named) -> list[Any]:
    return [order, context.user]


@pytest.mark.parametrize(
    "function", [plain, or_none, optional, union, annotated, inside, text, quoted, alias, named]
)
async def test_the_context_is_given_and_the_model_does_not_see_it(
    function: Callable[..., Any],
) -> None:
    agent = Agent("a", model="m:x", tools=[function])
    (spec,) = agent.spec.tools
    assert [*spec.parameters["properties"]] == ["order"]
    assert "$defs" not in spec.parameters
    box = ToolBox(SystemClock(), agent.functions)
    assert await box.call(spec, {"order": "A1"}, CONTEXT) == ["A1", "ann"]


def subclass(context: Wider) -> None: ...
def maybe_subclass(context: Wider | None = None) -> None: ...
def either(context: ToolContext | str) -> None: ...
def listed(context: list[ToolContext]) -> None: ...
def nested(context: dict[str, tuple[ToolContext | None, int]]) -> None: ...
def called(context: Callable[[ToolContext], str]) -> None: ...
def of_class(context: type[ToolContext]) -> None: ...
def bound(context: Bound) -> None: ...


@pytest.mark.parametrize(
    "function",
    [subclass, maybe_subclass, either, listed, nested, called, of_class, bound],
)
def test_a_hint_that_only_mentions_the_context_is_refused_at_the_start(
    function: Callable[..., Any],
) -> None:
    with pytest.raises(Misconfigured) as raised:
        Agent("a", model="m:x", tools=[function])
    name = function.__name__
    where = f'agent "a", tools: parameter context of {__name__}:{name} is annotated with'
    assert raised.value.message.startswith(where)
    assert raised.value.message.endswith(
        "annotate it with ToolContext itself to be given the call's context"
    )


def several(*contexts: ToolContext) -> None: ...
def by_name(**contexts: ToolContext) -> None: ...
def by_place(context: ToolContext, /) -> None: ...


@pytest.mark.parametrize("function", [several, by_name, by_place])
def test_a_context_without_a_name_of_its_own_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(Misconfigured, match="write out each parameter with its name"):
        read_function(function)


async def test_a_forwarded_credential_that_a_function_repeats_is_not_kept() -> None:
    @tool(effect="read_only")
    def look(context: ToolContext) -> dict[str, Any]:
        return {"sent": context.headers, "tenant": "acme-1"}

    @tool(effect="read_only")
    def fail(context: ToolContext) -> None:
        raise ValueError(context.headers["authorization"])

    agent = Agent("a", model="m:x", tools=[look, fail])
    box = ToolBox(SystemClock(), agent.functions)
    headers = {"authorization": "Bearer t0ken-of-theirs", "x-tenant": "acme-1"}
    context = ToolContext("ws_1", "exec_1", "tc_1", headers=headers)
    found, failing = agent.spec.tools
    assert await box.call(found, {}, context) == {
        "sent": {"authorization": "***", "x-tenant": "acme-1"},
        "tenant": "acme-1",
    }
    with pytest.raises(Exception, match=r"^ValueError: \*\*\*$"):
        await box.call(failing, {}, context)
