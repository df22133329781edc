"""What an execution with memory stores has besides its agent: tools, and a note of the stores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from outlast.agents.tools.memory_kind import HeldStore, held_stores, with_memory_tools
from outlast.model.agent import Agent
from outlast.model.execution import Execution
from outlast.store.memory.store import Memories


@dataclass(frozen=True, slots=True)
class MemoryTools:
    """Adds the tools of an execution's memory stores to its agent."""

    store: Memories

    async def added(self, agent: Agent, execution: Execution) -> Agent:
        """Return the agent with these tools, and the stores in its instructions.

        A tool of the agent keeps its name: the one of that name is not added.
        """
        stores = execution.memory_stores
        if not stores:
            return agent
        held = await held_stores(self.store, execution.workspace_id, stores)
        if not held:
            return agent
        spec = with_memory_tools(agent.spec, held)
        instructions = "\n\n".join(text for text in (spec.instructions, _note(held)) if text)
        return replace(agent, spec=replace(spec, instructions=instructions))


def _note(held: Sequence[HeldStore]) -> str:
    lines = ["Memory stores:"]
    for one in held:
        access = "" if one.is_writable else " (read-only)"
        description = " ".join(one.store.description.split())
        line = f"- {' '.join(one.store.name.split())}{access}"
        lines.append(f"{line}: {description}" if description else line)
    return "\n".join(lines)
