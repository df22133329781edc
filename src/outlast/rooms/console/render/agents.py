"""View models of agents: what their users may know, as in the API."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from outlast.model.agent import Agent, Effect, ToolSpec, shown_model
from outlast.rooms.console.render.lines import Line, differing, json_lines
from outlast.rooms.console.render.words import counted

EFFECTS: Final = {
    Effect.READ_ONLY: "reads only",
    Effect.IDEMPOTENT: "may be repeated",
    Effect.DESTRUCTIVE: "runs once only",
}


@dataclass(frozen=True, slots=True)
class ShownTool:
    """A tool of an agent."""

    name: str
    description: str
    kind: str
    effect: str
    approval: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ShownAgent:
    """An agent's newest version."""

    id: str
    name: str
    description: str
    version: int
    models: tuple[str, ...]
    instructions: str
    tools: tuple[ShownTool, ...]
    limits: dict[str, Any]
    settings: dict[str, Any]
    updated_at: int
    state: str
    """in use, paused or retired."""
    is_code: bool


@dataclass(frozen=True, slots=True)
class Activity:
    """What an agent has done in the last 24 hours."""

    count: int
    failed: int
    credits: int

    def __str__(self) -> str:
        if not self.count:
            return "no execution in 24 h"
        failed = f", {counted(self.failed)} failed" if self.failed else ""
        several = "" if self.count == 1 else "s"
        return f"{counted(self.count)} execution{several} in 24 h{failed}"


def changes(before: Agent, after: Agent) -> tuple[list[Line], bool]:
    """Return the lines in which two versions differ, and whether there are more."""
    return differing(_lines(before), _lines(after))


def _lines(agent: Agent) -> list[str]:
    shown = asdict(shown_agent(agent))
    for name in ("id", "version", "updated_at", "state"):
        del shown[name]
    instructions: str = shown.pop("instructions")
    return [*instructions.splitlines(), *json_lines(shown)]


def shown_agent(agent: Agent) -> ShownAgent:
    """Return an agent for its page."""
    spec, limits = agent.spec, agent.spec.limits
    retired = agent.retired_at is not None
    return ShownAgent(
        agent.id,
        spec.name,
        spec.description,
        agent.version,
        tuple(shown_model(choice.name) for choice in spec.models),
        spec.instructions,
        tuple(_tool(tool) for tool in spec.tools),
        {
            "steps": limits.max_steps,
            "tokens": limits.max_tokens,
            "seconds": limits.max_seconds,
        },
        spec.settings,
        agent.updated_at,
        "retired" if retired else "paused" if agent.paused else "in use",
        spec.code is not None,
    )


def _tool(tool: ToolSpec) -> ShownTool:
    if isinstance(tool.approval, str):
        approval = "by a function"
    else:
        approval = "always" if tool.approval else "never"
    kind = tool.kind or ""
    return ShownTool(
        tool.name, tool.description, kind, EFFECTS[tool.effect], approval, tool.parameters
    )
