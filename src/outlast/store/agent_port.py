"""The store's port for agents."""

from dataclasses import dataclass
from typing import Protocol

from outlast.model.agent import Agent, AgentSpec
from outlast.store.page import Page


@dataclass(frozen=True, slots=True)
class AgentsFile:
    """An agents file as a starting server has read it."""

    workspace_id: str
    source: str
    """Its path or module, as the operator gave it."""
    digest: str
    """Of its agents' names and specs."""
    names: frozenset[str]
    at: int
    alone: bool = False
    """Whether no other server uses the database: the file decides about every agent."""


class AgentStore(Protocol):
    """Agents and their immutable versions."""

    async def put_agent(
        self,
        workspace_id: str,
        new_id: str,
        spec: AgentSpec,
        digest: str,
        at: int,
        source: str = "file",
    ) -> Agent:
        """Make the agent of that name, or its next version; the same digest makes none.

        An agent that was retired is in use again.
        """
        ...

    async def retire_unnamed(self, request: AgentsFile) -> list[str]:
        """Retire the agents that a file has named before and no longer names; return their names.

        A content that the file has had before retires none, unless the server is `alone`.
        """
        ...

    async def retire_agent(self, workspace_id: str, agent_id: str, at: int | None) -> None:
        """Retire an agent at this time; None takes it back into use."""
        ...

    async def agent(self, workspace_id: str, id_or_name: str) -> Agent:
        """The newest version, also of a retired agent. Raises AgentNotFound."""
        ...

    async def agent_version(self, workspace_id: str, agent_id: str, version: int) -> Agent:
        """One version. Raises AgentNotFound."""
        ...

    async def agent_name(self, workspace_id: str, agent_id: str) -> str:
        """The agent's name. Raises AgentNotFound."""
        ...

    async def agents(self, workspace_id: str, page: Page, *, retired: bool = False) -> list[Agent]:
        """Newest first; one more than page.limit where there are more. `retired`: those too."""
        ...
