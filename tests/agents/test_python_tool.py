"""Python functions as tools."""

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NoReturn

import anyio
import pytest
from pydantic import BaseModel

from outlast import Agent, ToolContext, tool
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.error import ToolFailed, ToolTimeout

pytestmark = pytest.mark.anyio
CONTEXT = ToolContext("ws_1", "exec_1", "tc_1", session={"user": "u"})


class Order(BaseModel):
    id: str
    at: datetime


@dataclasses.dataclass
class Line:
    count: int
    price: float


@dataclasses.dataclass
class Named:
    name: str


async def call(function: Callable[..., Any], **arguments: Any) -> Any:
    agent = Agent("a", model="m", tools=[function])
    box = ToolBox(SystemClock(), agent.functions)
    return await box.call(agent.spec.tools[0], arguments, CONTEXT)


async def test_arguments_become_what_the_hints_say_and_the_result_becomes_json() -> None:
    async def ship(order: Order, when: datetime, lines: list[Line]) -> dict[str, object]:
        assert isinstance(order, Order)
        return {"later": when > order.at, "lines": lines, "order": order, "nan": float("nan")}

    result = await call(
        ship,
        order={"id": "o", "at": "2026-01-01T00:00:00Z"},
        when="2026-01-02T00:00:00Z",
        lines=[{"count": 1, "price": 2}],
    )
    assert result == {
        "later": True,
        "lines": [{"count": 1, "price": 2.0}],
        "order": {"id": "o", "at": "2026-01-01T00:00:00Z"},
        "nan": None,
    }


async def test_a_sync_function_runs_beside_the_loop() -> None:
    loop_thread = threading.get_ident()

    def where() -> bool:
        return threading.get_ident() == loop_thread

    assert await call(where) is False


async def test_sync_functions_run_in_parallel() -> None:
    both = threading.Barrier(2, timeout=10)

    def meet() -> int:
        return both.wait()

    assert sorted(await asyncio.gather(call(meet), call(meet))) == [0, 1]


async def test_the_context_is_given_and_stands_not_in_the_schema() -> None:
    def who(context: ToolContext, greeting: str = "hello") -> list[object]:
        return [greeting, context.execution_id, context.tool_call_id, context.session["user"]]

    assert await call(who) == ["hello", "exec_1", "tc_1", "u"]
    with pytest.raises(ToolFailed, match="'context' was unexpected"):
        await call(who, context={})


async def test_a_generator_is_read_to_its_end() -> None:
    def count() -> Iterator[int]:
        yield from range(3)

    assert await call(count) == [0, 1, 2]


async def test_bad_arguments_name_the_place_and_what_is_expected() -> None:
    def ship(count: int, when: datetime) -> None: ...

    with pytest.raises(ToolFailed) as raised:
        await call(ship, count="many")
    assert raised.value.message == (
        "The arguments are not valid; correct them and call again:\n"
        '- "when" is a required property\n'
        '- count: "many" is not of type "integer"'
    )
    with pytest.raises(ToolFailed, match="- when: Input should be a valid datetime"):
        await call(ship, count=1, when="soon")


def _raise(error: BaseException) -> NoReturn:
    raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no such order"), "ValueError: no such order"),
        (KeyError("x"), "KeyError: 'x'"),
        (TimeoutError(), "TimeoutError"),
        (SystemExit(3), "SystemExit: 3"),
        (asyncio.CancelledError(), "CancelledError: the tool's own work was cancelled"),
    ],
)
@pytest.mark.parametrize("is_async", [True, False])
async def test_what_a_function_raises_is_reported_without_its_traceback(
    error: BaseException, message: str, is_async: bool
) -> None:
    async def async_fail() -> None:
        _raise(error)

    def fail() -> None:
        _raise(error)

    with pytest.raises(ToolFailed) as raised:
        await call(async_fail if is_async else fail)
    assert type(raised.value) is ToolFailed
    assert raised.value.message == message


@pytest.mark.parametrize("result", [object(), b"\xff", 2**64, {"deep": None}])
async def test_a_result_that_is_no_json_is_the_tools_error(result: object) -> None:
    if isinstance(result, dict):
        for _ in range(2000):
            result = {"deep": result}

    def give() -> Any:
        return result

    with pytest.raises(ToolFailed, match="cannot be written as JSON"):
        await call(give)


@pytest.mark.parametrize(
    ("result", "kept"),
    [
        ("a\ud83d", "a\ufffd"),
        ({"caf\udce9": ["\ud83d\ude00"]}, {"caf\ufffd": ["😀"]}),
        (Named("half \udce9"), {"name": "half \ufffd"}),
    ],
)
async def test_half_a_character_in_a_result_is_replaced(result: object, kept: object) -> None:
    def give() -> Any:
        return result

    assert await call(give) == kept


async def test_a_result_that_is_too_large_is_the_tools_error() -> None:
    def give() -> str:
        return "x" * 262_143

    with pytest.raises(ToolFailed, match="is 262145 bytes as JSON, more than 262144"):
        await call(give)


async def test_a_result_that_is_nested_too_deep_to_be_shown_is_the_tools_error() -> None:
    def give(levels: int) -> Any:
        result: Any = 1
        for _ in range(levels):
            result = [result]
        return result

    assert await call(give, levels=64)
    with pytest.raises(ToolFailed, match="nested deeper than 64 levels"):
        await call(give, levels=65)


async def test_past_its_timeout_a_function_is_given_up() -> None:
    release = threading.Event()
    cancelled = anyio.Event()

    @tool(timeout=0.05)
    async def hang() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    @tool(timeout=0.05)
    def block() -> None:
        release.wait(10)

    with pytest.raises(ToolTimeout, match=r"did not answer within 0\.05 s"):
        await call(hang)
    assert cancelled.is_set()
    with pytest.raises(ToolTimeout):
        await call(block)
    release.set()


async def test_a_cancel_from_outside_goes_through() -> None:
    started, stopped = anyio.Event(), anyio.Event()

    async def hang() -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    task = asyncio.create_task(call(hang))
    with anyio.fail_after(5):
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert stopped.is_set()


async def test_a_reference_that_was_not_given_is_imported() -> None:
    spec = ToolSpec("join", "", {"type": "object"}, python="tests.agents.test_python_tool:shout")
    assert await ToolBox(SystemClock()).call(spec, {"word": "a"}, CONTEXT) == "A"


def shout(word: str) -> str:
    return word.upper()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such_module:f", "module no_such_module cannot be imported"),
        ("tests.agents.test_python_tool:none", "has no function none"),
        ("shout", "is not of the form module:function"),
    ],
)
async def test_a_function_that_is_gone_is_the_tools_error(reference: str, message: str) -> None:
    spec = ToolSpec("t", "", {"type": "object"}, python=reference)
    with pytest.raises(ToolFailed, match=message):
        await ToolBox(SystemClock()).call(spec, {}, CONTEXT)
