"""Checks of every agent, from any source: names, tools, schemas, tool choice, limits.

A problem has the path of its key in the spec.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf
from typing import Any, Final

from outlast.agents.problem import Problem, json_problems, text_problems
from outlast.agents.tools import kinds
from outlast.agents.tools.arguments import InvalidSchema, check_schema
from outlast.model.agent import FALLBACK_CODES, REASONING_EFFORTS, AgentSpec, ToolSpec
from outlast.model.memory import MAX_NAME, MAX_STORES

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CHOICES: Final = ("auto", "none", "required")
_MOST: Final = 2**63 - 1
_LONGEST_CHAIN: Final = 8
_OPERATORS_CODE: Final = "a function of the server is for the operator's own agents file"


def agent_problems(spec: AgentSpec) -> Iterator[Problem]:
    """Yield everything that is wrong with an agent; nothing if it can run."""
    yield from _name(spec.name, "an agent's name")
    yield from _models(spec)
    for key in ("instructions", "description"):
        yield from text_problems((key,), getattr(spec, key))
    seen: Counter[str] = Counter()
    for index, tool in enumerate(spec.tools):
        seen[tool.name] += 1
        if seen[tool.name] == 2:  # noqa: PLR2004 - the second of its name, once
            problem = f"two tools are called {tool.name!r}; give one another name"
            yield Problem(("tools", index, "name"), problem)
        for problem_of_tool in tool_problems(tool):
            yield problem_of_tool.below("tools", index)
    yield from _choice(spec)
    yield from _limits(spec)
    yield from _memory_stores(spec)
    yield from json_problems(("settings",), spec.settings)
    yield from _settings(spec.settings, [choice.name for choice in spec.models])


def _models(spec: AgentSpec) -> Iterator[Problem]:
    names: set[str] = set()
    for index, choice in enumerate(spec.models):
        path = ("model", index) if spec.chain else ("model",)
        if not choice.name.strip():
            yield Problem(path, "this is empty; name a model such as openai-chat:gpt-5-mini")
        if choice.name in names:
            yield Problem(path, f"{choice.name[:80]!r} is in the chain already")
        names.add(choice.name)
        yield from text_problems(path, choice.name)
        if choice.context_tokens is not None and not 0 < choice.context_tokens <= _MOST:
            yield Problem((*path, "context_tokens"), "tokens, greater than 0")
    if len(spec.chain) > _LONGEST_CHAIN:
        yield Problem(("model",), f"a chain has at most {_LONGEST_CHAIN} models")
    for code in spec.fallback_on:
        if code not in FALLBACK_CODES:
            known = ", ".join(FALLBACK_CODES)
            yield Problem(("fallback_on",), f"{code[:80]!r} is none of {known}")
    if spec.fallback_on and len(spec.models) == 1:
        yield Problem(("fallback_on",), "there is no other model: write model as a list of several")


def _settings(settings: dict[str, Any], models: Sequence[str]) -> Iterator[Problem]:
    search = settings.get("web_search")
    if search is not None and not isinstance(search, bool):
        yield Problem(("settings", "web_search"), "true or false")
    elif search and (local := [name for name in models if name.startswith("local:")]):
        text = f"{local[0]} cannot search by itself; give the agent the tool web_search"
        yield Problem(("settings", "web_search"), text)
    effort = settings.get("reasoning_effort")
    if effort is not None and effort not in REASONING_EFFORTS:
        known = ", ".join(REASONING_EFFORTS)
        yield Problem(("settings", "reasoning_effort"), f"{effort!r} is none of {known}")
    both = {"max_tokens", "max_completion_tokens"}
    if both <= {key for key, value in settings.items() if value is not None}:
        yield Problem(("settings", "max_completion_tokens"), "max_tokens is set too; remove one")


def tool_problems(tool: ToolSpec) -> Iterator[Problem]:
    """Yield everything that is wrong with one tool."""
    yield from _name(tool.name, "a tool's name")
    if tool.name in CHOICES:
        yield Problem(("name",), f"{tool.name!r} has a meaning in a tool choice; take another name")
    if len(given := tool.kinds) != 1:
        yield Problem((), kinds.exactly_one(" and ".join(given) or "none"))
    yield from text_problems(("description",), tool.description)
    if not 0 < tool.timeout < inf:
        yield Problem(("timeout",), "seconds greater than 0")
    if tool.expiry is not None and not 0 < tool.expiry.seconds < inf:
        yield Problem(("expiry",), "seconds greater than 0")
    yield from _schema(tool.parameters)
    for key in given:
        yield from _kind(tool, key)


def _kind(tool: ToolSpec, key: str) -> Iterator[Problem]:
    yield from json_problems((key,), tool.other.get(key))
    kind = kinds.find(key)
    if kind is None:
        yield Problem((key,), "there is no such kind of tool")
        return
    for problem in kind.problems(tool):
        yield problem.below(key)


def operators_only(spec: AgentSpec) -> Iterator[Problem]:
    """Yield settings allowed only in the operator's files, not in agents created over HTTP.

    They would give access to the server's environment, code or files.
    """
    if spec.code is not None:
        yield Problem(("code",), _OPERATORS_CODE)
    for choice in spec.models:
        provider, _, name = choice.name.partition(":")
        if provider == "scripted" or (provider == "local" and "/" in name):
            yield Problem(("model",), "a file of the server is for the operator's own agents file")
    for index, tool in enumerate(spec.tools):
        if isinstance(tool.approval, str):
            yield Problem(("tools", index, "approval"), _OPERATORS_CODE)
        for key in tool.kinds:
            kind = kinds.find(key)
            for problem in kind.operators_only(tool) if kind is not None else ():
                yield problem.below("tools", index, key)


def _name(name: str, what: str) -> Iterator[Problem]:
    if not _NAME.fullmatch(name):
        problem = f"{name[:80]!r} is not {what}: 1 to 64 letters, digits, _ and -"
        yield Problem(("name",), problem)


def _schema(schema: dict[str, Any]) -> Iterator[Problem]:
    path = ("parameters",)
    if schema.get("type") != "object":
        yield Problem(path, "the schema's type must be object, as arguments are one")
        return
    problems = list(json_problems(path, schema))
    yield from problems
    if not problems:
        try:
            check_schema(schema)
        except InvalidSchema as error:
            yield Problem(path, f"this is not a valid JSON Schema: {error}")


def _choice(spec: AgentSpec) -> Iterator[Problem]:
    path = ("tool_choice",)
    if spec.tool_choice == "required" and not spec.tools:
        yield Problem(path, "a tool is required, but the agent has none")
    if spec.tool_choice not in CHOICES and not spec.has(spec.tool_choice):
        names = ", ".join(tool.name for tool in spec.offered) or "none"
        problem = f"there is no tool {spec.tool_choice!r}; the agent's tools: {names}"
        yield Problem(path, f"{problem}; or write auto, none or required")


def _memory_stores(spec: AgentSpec) -> Iterator[Problem]:
    names = [store.name for store in spec.memory_stores]
    if len(names) > MAX_STORES:
        yield Problem(("memory_stores",), f"an execution has at most {MAX_STORES} memory stores")
    for index, name in enumerate(names):
        if not 0 < len(name) <= MAX_NAME:
            yield Problem(("memory_stores", index), f"a name has 1 to {MAX_NAME} characters")
        elif name in names[:index]:
            yield Problem(("memory_stores", index), f"{name!r} is given twice; remove one")
        yield from text_problems(("memory_stores", index), name)


def _limits(spec: AgentSpec) -> Iterator[Problem]:
    for key in ("max_steps", "max_tokens", "max_seconds"):
        value = getattr(spec.limits, key)
        if value is not None and not value > 0:
            yield Problem(("limits", key), "greater than 0")
        elif value is not None and value > _MOST:
            yield Problem(("limits", key), f"{value} is more than 64 bits hold")
