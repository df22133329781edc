"""What every agent must keep, wherever it was written: names, tools, schemas, tool choice, limits.

A problem has the path of its key in the spec's own words; whoever reads a file adds file, line and
the file's spelling of the keys.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Final, TypeAlias

import orjson

from outlast.agents.tools.arguments import InvalidSchema, compile_schema
from outlast.agents.tools.builtin import BUILTINS
from outlast.agents.tools.http_check import http_problems
from outlast.model.agent import AgentSpec, ToolSpec

Path: TypeAlias = tuple[str | int, ...]
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CHOICES: Final = ("auto", "none", "required")
_KINDS: Final = ("http", "python", "builtin")


HALF_A_PAIR: Final = "half of a surrogate pair is no character; write the character itself"
_MOST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, at the path of its key."""

    path: Path
    text: str


def agent_problems(spec: AgentSpec) -> Iterator[Problem]:
    """Everything that is wrong with an agent; nothing when it can run."""
    yield from _name(spec.name, "an agent's name")
    if not spec.model.strip():
        yield Problem(("model",), "this is empty; name a model such as openai-chat:gpt-5-mini")
    for key in ("model", "instructions", "description"):
        yield from _text((key,), getattr(spec, key))
    seen: Counter[str] = Counter()
    for index, tool in enumerate(spec.tools):
        seen[tool.name] += 1
        if seen[tool.name] == 2:  # noqa: PLR2004 - the second of its name, once
            problem = f"two tools are called {tool.name!r}; give one another name"
            yield Problem(("tools", index, "name"), problem)
        for problem_of_tool in tool_problems(tool):
            yield Problem(("tools", index, *problem_of_tool.path), problem_of_tool.text)
    yield from _choice(spec)
    yield from _limits(spec)
    yield from _json(("settings",), spec.settings)


def tool_problems(tool: ToolSpec) -> Iterator[Problem]:
    """Everything that is wrong with one tool."""
    yield from _name(tool.name, "a tool's name")
    if tool.name in _CHOICES:
        yield Problem(("name",), f"{tool.name!r} has a meaning in a tool choice; take another name")
    given = [kind for kind in _KINDS if getattr(tool, kind) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        yield Problem((), f"a tool has exactly one of http, python and builtin; found {found}")
    if tool.builtin is not None and tool.builtin not in BUILTINS:
        yield Problem(("builtin",), f"there is no builtin tool {tool.builtin!r}")
    yield from _text(("description",), tool.description)
    if not 0 < tool.timeout < inf:
        yield Problem(("timeout",), "seconds greater than 0")
    if tool.expiry is not None and not 0 < tool.expiry.seconds < inf:
        yield Problem(("expiry",), "seconds greater than 0")
    yield from _schema(tool.parameters)
    if tool.http is not None:
        for path, text in http_problems(tool.http, tool.parameters):
            yield Problem(("http", *path), text)
        for key in ("headers", "query", "body"):
            yield from _json(("http", key), getattr(tool.http, key))


def _name(name: str, what: str) -> Iterator[Problem]:
    if not _NAME.fullmatch(name):
        problem = f"{name[:80]!r} is not {what}: 1 to 64 letters, digits, _ and -"
        yield Problem(("name",), problem)


def _text(path: Path, text: str) -> Iterator[Problem]:
    try:
        text.encode()
    except UnicodeEncodeError:
        yield Problem(path, HALF_A_PAIR)


def _schema(schema: dict[str, Any]) -> Iterator[Problem]:
    path = ("parameters",)
    if schema.get("type") != "object":
        yield Problem(path, "the schema's type must be object, as arguments are one")
        return
    problems = list(_json(path, schema))
    yield from problems
    if not problems:
        try:
            compile_schema(schema)
        except InvalidSchema as error:
            yield Problem(path, f"this is not a valid JSON Schema: {error}")


def _json(path: Path, value: Any) -> Iterator[Problem]:
    """Also refuses what orjson writes by itself but JSON gives back as something else."""
    try:
        orjson.dumps(
            value, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
        )
    except (orjson.JSONEncodeError, RecursionError) as error:
        yield Problem(path, f"this cannot be written as JSON: {error}")
        return
    for below, number in _infinite(value, path):
        yield Problem(below, f"{number} is no number of JSON")


def _infinite(value: Any, path: Path) -> Iterator[tuple[Path, float]]:
    """NaN and infinite numbers, which would be written as null."""
    match value:
        case float() if not isfinite(value):
            yield path, value
        case dict():
            for key, item in value.items():
                yield from _infinite(item, (*path, key))
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _infinite(item, (*path, index))
        case _:
            pass


def _choice(spec: AgentSpec) -> Iterator[Problem]:
    path = ("tool_choice",)
    if spec.tool_choice == "required" and not spec.tools:
        yield Problem(path, "a tool is required, but the agent has none")
    if spec.tool_choice not in _CHOICES and spec.tool(spec.tool_choice) is None:
        names = ", ".join(tool.name for tool in spec.tools) or "none"
        problem = f"there is no tool {spec.tool_choice!r}; the agent's tools: {names}"
        yield Problem(path, f"{problem}; or write auto, none or required")


def _limits(spec: AgentSpec) -> Iterator[Problem]:
    for key in ("max_steps", "max_tokens", "max_seconds"):
        value = getattr(spec.limits, key)
        if value is not None and not value > 0:
            yield Problem(("limits", key), "greater than 0")
        elif value is not None and value > _MOST:
            yield Problem(("limits", key), f"{value} is more than 64 bits hold")


def place(names: list[str], path: Path) -> str:
    """`agent "support", tool "refund", http.url` of a path in the spec of the agent so named.

    `names` are the names of the agent's tools in their order, as far as they are known.
    """
    if path[:1] == ("tools",) and len(path) > 1 and isinstance(path[1], int):
        index = path[1]
        name = names[index] if index < len(names) else ""
        tool = f'tool "{name}"' if name else f"tools[{index}]"
        return ", ".join(part for part in (tool, keys(path[2:])) if part)
    return keys(path)


def keys(path: Path) -> str:
    """`http.headers.X-Shop` of a path; places in a list in brackets."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")
