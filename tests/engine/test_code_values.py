"""What a code agent's function returns or hands over and is no JSON fails it, and says why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from outlast import Context
from outlast.model.execution import Status
from tests.engine.test_code import error_of, make_engine
from tests.support.tools import FakeTools, tool

__all__ = ["make_engine"]
pytestmark = [pytest.mark.anyio, pytest.mark.only("sqlite")]


@dataclass
class Node:
    next: Any = None


def deep(levels: int, within: Any = 1) -> Any:
    value = within
    for _ in range(levels):
        value = {"a": value}
    return value


def itself_in_a_list() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


def itself_in_an_object() -> Any:
    found: dict[str, Any] = {}
    found["a"] = {"b": [found]}
    return found


def itself_in_a_dataclass() -> Any:
    node = Node()
    node.next = node
    return node


TOO_DEEP = "it contains itself, or is nested too deep"
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a list in itself": (itself_in_a_list, TOO_DEEP),
    "an object in itself": (itself_in_an_object, TOO_DEEP),
    "a dataclass in itself": (itself_in_a_dataclass, TOO_DEEP),
    "2,000 levels": (lambda: deep(2000), TOO_DEEP),
    "2,000 levels around half a surrogate pair": (lambda: deep(2000, "\ud83d"), TOO_DEEP),
    "100,000 levels": (lambda: deep(100_000), TOO_DEEP),
    "300 levels": (lambda: deep(300), TOO_DEEP),
    "a set": (lambda: {1}, "Type is not JSON serializable: set"),
    "a large number": (lambda: [10**30], "Integer exceeds 64-bit range"),
}
DOORS: dict[str, Callable[[Context, Any], Any]] = {
    "emit": lambda ctx, value: ctx.emit("n", value),
    "checkpoint": lambda ctx, value: ctx.checkpoint({"s": value}),
    "tool": lambda ctx, value: ctx.tool("look", at=value),
}


@pytest.mark.parametrize("name", list(WRONG))
async def test_a_result_that_is_no_json_fails_the_function_and_says_why(
    make_engine: Any, name: str
) -> None:
    make, expected = WRONG[name]

    async def wrong(ctx: Context, given: str) -> Any:
        return make()

    error = error_of(await (await make_engine(wrong)).run())
    assert error.code == "code_failed"
    assert error.message == f"The function's result cannot be written as JSON: {expected}"


@pytest.mark.parametrize("door", list(DOORS))
@pytest.mark.parametrize("name", list(WRONG))
async def test_a_value_that_is_no_json_fails_the_function_and_says_why(
    make_engine: Any, name: str, door: str
) -> None:
    make, expected = WRONG[name]

    async def wrong(ctx: Context, given: str) -> Any:
        await DOORS[door](ctx, make())

    server = await make_engine(wrong, None, FakeTools(look=lambda _: 1), tool("look"))
    error = error_of(await server.run())
    assert error.code == "code_failed"
    assert error.message == f"TypeError: A value cannot be written as JSON: {expected}"


@pytest.mark.parametrize("door", list(DOORS))
@pytest.mark.parametrize("levels", [65, 251, 252])
async def test_a_value_that_fits_json_but_nothing_that_shows_it_fails_the_function(
    make_engine: Any, levels: int, door: str
) -> None:
    async def wrong(ctx: Context, given: str) -> Any:
        await DOORS[door](ctx, deep(levels))

    server = await make_engine(wrong, None, FakeTools(look=lambda _: 1), tool("look"))
    error = error_of(await server.run())
    assert error.code == "code_failed"
    assert error.message == "TypeError: A value is nested deeper than 64 levels"


@pytest.mark.parametrize("door", list(DOORS))
async def test_a_value_of_as_many_levels_as_are_shown_is_kept(make_engine: Any, door: str) -> None:
    async def right(ctx: Context, given: str) -> Any:
        await DOORS[door](ctx, deep(62))
        return deep(250)

    server = await make_engine(right, None, FakeTools(look=lambda _: 1), tool("look"))
    assert (await server.run()).execution.status is Status.COMPLETED
