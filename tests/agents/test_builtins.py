"""The calculator and the datetime tool."""

from typing import Any

import pytest

from outlast.agents.port import ToolContext
from outlast.agents.tools.builtin import builtin_spec
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.clock import SystemClock
from outlast.model.error import ToolFailed

pytestmark = pytest.mark.anyio


class StillClock(SystemClock):
    def now(self) -> int:
        return 1_774_780_200_123  # 2026-03-29T10:30:00.123Z


async def call(name: str, **arguments: Any) -> Any:
    box = ToolBox(StillClock())
    return await box.call(builtin_spec(name), arguments, ToolContext("ws", "exec", "tc"))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("0.1 + 0.2", 0.3),
        ("7 // 2", 3),
        ("-7 % 3", 2),
        ("7 / 2", 3.5),
        ("2 ** 10", 1024),
        ("2 ** -1", 0.5),
        ("2 ** 64", "18446744073709551616"),
        ("-(2 ** 53)", -(2**53)),
        ("sqrt(16) + abs(-2)", 6.0),
        ("round(19.99 * 3 * 1.19, 2)", 71.36),
        ("max(1, 2, 3) - min(4, 5)", -1),
        ("floor(2.7) + ceil(2.1)", 5),
        (" 1_000 + 1 ", 1001),
        ("round(pi, 4)", 3.1416),
    ],
)
async def test_an_expression_has_its_value(expression: str, value: object) -> None:
    result = await call("calculator", expression=expression)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 / 0", "Division by zero."),
        ("9 ** 9 ** 9", "The result is too large."),
        ("2 ** 4097", "The result is too large."),
        ("2 ** 0.5 ** -99999", "The result is too large."),
        ("1e308 * 10", "The result is too large."),
        ("(-8) ** 0.5", "The result is not a real number."),
        ("sqrt(-1)", "The expression has no value: "),
        ("max()", "The expression has no value: "),
        ("2 ^ 3", "Write a power as **, not ^."),
        ("1,000 + 1", "Write numbers without separators"),
        ("1 +", "'1 +' is not an arithmetic expression."),
        ("(" * 400, "is not an arithmetic expression."),
        ("1" * 501, "The expression is longer than 500 characters."),
        ("x + 1", "'x' is not known. There are numbers"),
        ("True + 1", "True and False are not numbers."),
        ("'a' * 9", "\"'a'\" is not known"),
        ("().__class__", "is not known"),
        ("__import__('os')", "is not known"),
        ("round(1.5, ndigits=1)", "is not known"),
        ("round(2, -(10**300))", "The"),
        ("9" * 400 + "* 1.5", "The result is too large."),
    ],
)
async def test_what_is_no_arithmetic_is_refused(expression: str, message: str) -> None:
    with pytest.raises(ToolFailed) as raised:
        await call("calculator", expression=expression)
    assert message in raised.value.message


async def test_bad_arguments_are_refused_before_the_tool_runs() -> None:
    with pytest.raises(ToolFailed, match='"expression" is a required property'):
        await call("calculator", term="1")


async def test_now_is_given_in_a_time_zone() -> None:
    assert await call("datetime", timezone="Europe/Berlin") == {
        "datetime": "2026-03-29T12:30:00+02:00",
        "weekday": "Sunday",
        "timezone": "Europe/Berlin",
    }
    assert (await call("datetime"))["datetime"] == "2026-03-29T10:30:00+00:00"


@pytest.mark.parametrize(
    ("add", "then"),
    [
        ({"days": 1}, "2026-03-29T12:00:00+02:00"),
        ({"hours": 24}, "2026-03-29T13:00:00+02:00"),
        ({"weeks": -1, "minutes": 90}, "2026-03-21T13:30:00+01:00"),
    ],
)
async def test_days_go_by_the_calendar_and_hours_by_the_clock(
    add: dict[str, float], then: str
) -> None:
    at = "2026-03-28T12:00:00"
    answer = await call("datetime", timezone="Europe/Berlin", at=at, add=add)
    assert answer["datetime"] == then


async def test_the_difference_of_two_times_is_exact() -> None:
    answer = await call("datetime", at="2026-03-28T00:00:00Z", until="2026-03-27T22:59:30Z")
    assert answer["difference"] == {
        "seconds": -3630.0,
        "text": "-0 days 1 hours 0 minutes 30 seconds",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timezone": "Berlin"}, "'Berlin' is not an IANA time zone"),
        ({"timezone": "../../etc/passwd"}, "is not an IANA time zone"),
        ({"at": "tomorrow"}, "'tomorrow' is not an ISO 8601 date or time"),
        ({"add": {"days": 9e99}}, "outside the years 1 to 9999"),
        ({"add": {"years": 1}}, "('years' was unexpected)"),
    ],
)
async def test_a_wrong_time_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolFailed) as raised:
        await call("datetime", **arguments)
    assert message in raised.value.message
