"""Cache of agents' versions and names, which never change."""

from typing import Final

from outlast.model.agent import Agent
from outlast.model.execution import Execution
from outlast.model.task import CLIENT_NAME, client_agent, client_agent_id
from outlast.store.agents import AgentStore

_MOST: Final = 1000


class KnownAgents:
    """The agents of executions, in the versions that those use."""

    def __init__(self, store: AgentStore) -> None:
        self._store = store
        self._found: dict[tuple[str, int], Agent] = {}
        self._names: dict[str, str] = {}

    async def of(self, execution: Execution) -> Agent:
        """Return the agent of an execution, in its version. Raises AgentNotFound."""
        key = (execution.agent_id, execution.agent_version)
        agent = self._found.get(key)
        if agent is None:
            agent = await self._read(execution)
            if len(self._found) >= _MOST:
                self._found.clear()
            self._found[key] = agent
        return agent

    def seen(self, execution: Execution) -> Agent | None:
        """Return the same from memory; None if `of` has not read it."""
        return self._found.get((execution.agent_id, execution.agent_version))

    async def name_of(self, execution: Execution) -> str:
        """Return the name of an execution's agent, equal in all versions. Raises AgentNotFound."""
        return await self.name(execution.workspace_id, execution.agent_id)

    async def name(self, workspace_id: str, agent_id: str) -> str:
        """Return the name of an agent. Raises AgentNotFound."""
        name = self._names.get(agent_id)
        if name is None:
            if agent_id == client_agent_id(workspace_id):
                return CLIENT_NAME
            name = await self._store.name(workspace_id, agent_id)
            if len(self._names) >= _MOST:
                self._names.clear()
            self._names[agent_id] = name
        return name

    async def _read(self, execution: Execution) -> Agent:
        workspace_id, agent_id = execution.workspace_id, execution.agent_id
        if not execution.is_client_driven:
            return await self._store.version(workspace_id, agent_id, execution.agent_version)
        if agent_id == client_agent_id(workspace_id):
            return client_agent(workspace_id)
        return await self._store.get(workspace_id, agent_id)
