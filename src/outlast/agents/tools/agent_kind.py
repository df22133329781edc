"""The kind `agent`: another agent, which runs as a child execution.

The call waits for the child (see `engine.segment.children`), so the runner is never reached.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from outlast.agents.port import ToolContext, WaitFor
from outlast.agents.problem import Problem
from outlast.agents.tools.kind import Count, Draft, Entry, Resources, Seconds, ToolEntry, ToolKind
from outlast.model.agent import AgentSpec, Effect, ToolSpec
from outlast.model.error import ToolFailed
from outlast.model.execution import Budget
from outlast.model.wait import WaitKind

KEY: Final = "agent"
_MOST: Final = 2**63
_PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "input": {
            "type": "string",
            "description": "The whole task: the agent sees nothing else.",
        }
    },
    "required": ["input"],
    "additionalProperties": False,
}


class CalleeLimits(Entry):
    max_steps: Count | None = None
    max_tokens: Count | None = None
    max_seconds: Seconds | None = None


class CalleeEntry(Entry):
    name: str
    version: Count | None = None
    limits: CalleeLimits = CalleeLimits()


@dataclass(frozen=True, slots=True)
class Callee:
    """The agent that a tool calls."""

    name: str
    version: int | None = None
    """None: the newest when it is called."""
    limits: dict[str, Any] = field(default_factory=dict)
    """max_steps, max_tokens, max_seconds of one call; the agent's own limits apply too."""

    @property
    def budget(self) -> Budget:
        """What one call may spend."""
        return Budget(**self.limits)


def agent_tool(
    agent: str,
    *,
    name: str | None = None,
    description: str | None = None,
    approval: bool = False,
    version: int | None = None,
    max_steps: int | None = None,
    max_tokens: int | None = None,
    max_seconds: float | None = None,
) -> ToolSpec:
    """Return a tool that runs another agent, by name, as a child execution.

    `description` is by default that of the agent; `version` pins one of its versions; the limits
    bound each call, besides the agent's own.
    """
    limits = {"max_steps": max_steps, "max_tokens": max_tokens, "max_seconds": max_seconds}
    callee = Callee(agent, version, {key: one for key, one in limits.items() if one is not None})
    made = callee_spec(callee)
    return replace(
        made,
        name=name or made.name,
        description=made.description if description is None else description,
        approval=approval,
    )


def callee_spec(callee: Callee) -> ToolSpec:
    """Return the tool that calls an agent, named as the agent."""
    given: dict[str, Any] = {"name": callee.name}
    if callee.version is not None:
        given["version"] = callee.version
    if callee.limits:
        given["limits"] = callee.limits
    return ToolSpec(
        callee.name,
        _generic(callee.name),
        _PARAMETERS,
        Effect.IDEMPOTENT,
        other={KEY: given},
    )


def callee_of(tool: ToolSpec) -> Callee | None:
    """Return the agent that a tool calls; None for any other tool."""
    given = tool.other.get(KEY)
    return None if given is None else Callee(**given)


def described(specs: Iterable[AgentSpec]) -> tuple[AgentSpec, ...]:
    """Return the agents of a file, whose tools describe the agents that they call."""
    specs = tuple(specs)
    known = {spec.name: spec.description for spec in specs}
    return tuple(
        replace(spec, tools=tuple(_described(tool, known) for tool in spec.tools))
        if any(callee_of(tool) for tool in spec.tools)
        else spec
        for spec in specs
    )


def unknown_callees(spec: AgentSpec, known: Iterable[str]) -> Iterator[Problem]:
    """Yield a problem for each tool that calls none of these agents."""
    known = tuple(known)
    for index, tool in enumerate(spec.tools):
        callee = callee_of(tool)
        if callee is not None and callee.name not in known:
            there = f"there is no agent {callee.name[:80]!r}"
            yield Problem(("tools", index, KEY), f"{there}; the agents: {', '.join(known)}")


def _described(tool: ToolSpec, known: Mapping[str, str]) -> ToolSpec:
    callee = callee_of(tool)
    own = "" if callee is None else known.get(callee.name, "")
    if callee is None or not own or tool.description != _generic(callee.name):
        return tool
    return replace(tool, description=own)


def _generic(name: str) -> str:
    return f"Run the agent {name} on an input; returns its answer."


class AgentRunner:
    """Refuses: a call of an agent waits for a child execution instead."""

    def __init__(self, _resources: Resources) -> None:
        pass

    async def call(self, spec: ToolSpec, _arguments: dict[str, Any], _context: ToolContext) -> Any:
        raise ToolFailed(f"The agent {spec.name} runs as a child execution only.")

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


def _make(_entry: ToolEntry, given: str | CalleeEntry, _draft: Draft) -> ToolSpec:
    if isinstance(given, str):
        return callee_spec(Callee(given))
    limits = given.limits.model_dump(exclude_none=True)
    return callee_spec(Callee(given.name, given.version, limits))


def _problems(spec: ToolSpec) -> Iterator[Problem]:
    callee = callee_of(spec)
    assert callee is not None
    if callee.version is not None and callee.version < 1:
        yield Problem(("version",), "the versions of an agent begin with 1")
    for key, most in callee.limits.items():
        if not 0 < most < _MOST:
            yield Problem(("limits", key), "greater than 0, and at most what 64 bits hold")


def _waits_for(_spec: ToolSpec, _arguments: dict[str, Any]) -> WaitFor:
    return WaitFor(WaitKind.CHILD)


AGENT: Final = ToolKind(
    KEY,
    str | CalleeEntry,
    _make,
    AgentRunner,
    problems=_problems,
    own_keys=("parameters", "effect", "timeout"),
    waits_for=_waits_for,
)
"""Another agent of the workspace, by name."""
