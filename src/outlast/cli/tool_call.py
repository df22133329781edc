"""What a model is offered of an agent's tools, and one call without an execution."""

import os
from typing import Any

from outlast.agents.loader import LoadedAgents
from outlast.agents.models.schemas import inlined
from outlast.agents.port import ToolContext
from outlast.agents.readiness import tools_not_ready
from outlast.agents.tools.python import ToolFunctions
from outlast.cli.composition import read_agents, tool_box
from outlast.model import ids
from outlast.model.agent import AgentSpec, ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.error import AgentNotFound, InvalidRequest, Misconfigured
from outlast.settings import Settings


def agent_named(settings: Settings, name: str) -> AgentSpec:
    """Return an agent of the agents file. Raises Misconfigured, AgentNotFound."""
    return _named(_loaded(settings), name)


def seen(tool: ToolSpec) -> dict[str, Any]:
    """Return a tool as its model sees it, and what the server knows of it besides."""
    approval = "always" if tool.approval is True else tool.approval or "never"
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": inlined(tool.parameters),
        "kind": tool.kind,
        "effect": tool.effect.value,
        "approval": approval,
        "timeout": tool.timeout,
    }


def arguments_of(text: str) -> dict[str, Any]:
    """Return arguments given as JSON. Raises InvalidRequest."""
    import orjson

    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The arguments are not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidRequest('The arguments are a JSON object, as \'{"orderId": "A-1"}\'.')
    return found


async def call(
    settings: Settings, agent: str, tool: str, arguments: dict[str, Any], *, yes: bool
) -> tuple[Any, float]:
    """Return the result of a call and its time in seconds.

    Raises ToolFailed; Misconfigured if the environment lacks something; InvalidRequest for a call
    that needs `yes`, or an execution.
    """
    loaded = _loaded(settings)
    spec = _named(loaded, agent)
    found = spec.tool(tool)
    if found is None:
        names = ", ".join(one.name for one in spec.tools) or "none"
        raise InvalidRequest(f"The agent {agent} has no tool {tool!r}; its tools: {names}.")
    for lack in tools_not_ready(AgentSpec(agent, spec.model, tools=(found,)), os.environ):
        raise Misconfigured(str(lack))
    clock = SystemClock()
    box = tool_box(settings, clock, ToolFunctions(loaded.functions))
    try:
        if box.waits_for(found, arguments) is not None:
            raise InvalidRequest(f"A call of {tool} needs an execution: outlast run {agent} INPUT")
        if found.approval and not yes and await box.asks(found, arguments):
            raise InvalidRequest(f"A person approves this call of {tool}: add --yes.")
        context = ToolContext("", ids.new(ids.EXECUTION), ids.new(ids.TOOL_CALL))
        began = clock.monotonic()
        return await box.call(found, arguments, context), clock.monotonic() - began
    finally:
        await box.close()


def _loaded(settings: Settings) -> LoadedAgents:
    loaded = read_agents(settings)
    if not loaded.specs:
        raise Misconfigured("There are no agents: name their file with --agents FILE.")
    return loaded


def _named(loaded: LoadedAgents, name: str) -> AgentSpec:
    found = next((spec for spec in loaded.specs if spec.name == name), None)
    if found is None:
        known = ", ".join(spec.name for spec in loaded.specs)
        raise AgentNotFound(f"There is no agent {name!r} in the agents file; it has: {known}.")
    return found
