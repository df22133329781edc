"""The tools that an execution's agent has, in the version that it uses."""

from outlast.model.agent import ToolSpec
from outlast.model.error import AgentNotFound
from outlast.model.execution import Execution
from outlast.rooms.console.render.agents import EFFECTS
from outlast.services.all import Services


async def tools_of(services: Services, execution: Execution) -> dict[str, ToolSpec]:
    """Return the tools by name; none if the version is not there any more."""
    of = execution.workspace_id, execution.agent_id, execution.agent_version
    try:
        agent = await services.agents.version(*of)
    except AgentNotFound:
        return {}
    return {tool.name: tool for tool in agent.spec.tools}


async def effects_of(services: Services, execution: Execution) -> dict[str, str]:
    """Return the effect of each tool in words."""
    found = await tools_of(services, execution)
    return {name: EFFECTS[tool.effect] for name, tool in found.items()}
