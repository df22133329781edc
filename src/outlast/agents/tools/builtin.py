"""The builtin tools: calculator and datetime. They change nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from outlast.agents.tools.arithmetic import KNOWN, calculate
from outlast.agents.tools.moments import moment
from outlast.model.agent import Effect, ToolSpec
from outlast.model.clock import Clock
from outlast.model.error import ToolFailed

_NUMBER: Final = {"type": "number"}
_UNITS: Final = ("weeks", "days", "hours", "minutes", "seconds")


@dataclass(frozen=True, slots=True)
class Builtin:
    """One builtin tool."""

    description: str
    parameters: dict[str, Any]
    run: Callable[[dict[str, Any], Clock], Any]


BUILTINS: Final[dict[str, Builtin]] = {
    "calculator": Builtin(
        "Calculate an arithmetic expression exactly. Use it for every calculation, however simple.",
        {
            "type": "object",
            "properties": {
                "expression": {
                    "type": "string",
                    "description": f"Numbers, + - * / // % **, parentheses, pi, e, and {KNOWN}. "
                    "Example: round(19.99 * 3 * 1.19, 2)",
                }
            },
            "required": ["expression"],
            "additionalProperties": False,
        },
        lambda arguments, _: calculate(arguments["expression"]),
    ),
    "datetime": Builtin(
        "Tell the current date, time and weekday in a time zone; or add a duration to a time; "
        "or tell how long it is from one time until another.",
        {
            "type": "object",
            "properties": {
                "timezone": {
                    "type": "string",
                    "description": "IANA name such as Europe/Berlin; UTC if left out",
                },
                "at": {
                    "type": "string",
                    "description": "ISO 8601 date or time to start from; now if left out",
                },
                "add": {
                    "type": "object",
                    "description": "What to add; negative numbers subtract",
                    "properties": dict.fromkeys(_UNITS, _NUMBER),
                    "additionalProperties": False,
                },
                "until": {
                    "type": "string",
                    "description": "ISO 8601 date or time: tells how long it is until then",
                },
            },
            "additionalProperties": False,
        },
        lambda arguments, clock: moment(arguments, clock.now()),
    ),
}


def builtin_spec(builtin: str, name: str | None = None, description: str | None = None) -> ToolSpec:
    """Return the spec of a builtin tool. Raises KeyError for an unknown name."""
    found = BUILTINS[builtin]
    return ToolSpec(
        name or builtin,
        found.description if description is None else description,
        found.parameters,
        effect=Effect.READ_ONLY,
        builtin=builtin,
    )


def call_builtin(builtin: str, arguments: dict[str, Any], clock: Clock) -> Any:
    """Run a builtin tool. Raises ToolFailed, also for an unknown name."""
    found = BUILTINS.get(builtin)
    if found is None:
        raise ToolFailed(f"This version of Outlast has no builtin tool {builtin!r}.")
    return found.run(arguments, clock)
