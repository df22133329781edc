"""Conversations: their content, and its deletion."""

from dataclasses import dataclass

from outlast.model.clock import Clock
from outlast.model.conversation import Conversation
from outlast.model.ids import CONVERSATION, parse
from outlast.model.workspace import Principal, Scope
from outlast.services.agents import Agents
from outlast.services.executions import Executions
from outlast.services.export import Export
from outlast.store.conversations.store import ConversationFilter
from outlast.store.conversations.turns import History
from outlast.store.store import Store

__all__ = ["ConversationFilter", "ConversationSummary", "ConversationView", "Conversations"]


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A conversation with its turns, oldest first."""

    conversation: Conversation
    turns: tuple[History, ...]


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A conversation as a list shows it."""

    conversation: Conversation
    agent: str
    """The agent's name."""


class Conversations:
    """The conversations of a workspace."""

    def __init__(self, store: Store, executions: Executions, agents: Agents, clock: Clock) -> None:
        self._store = store
        self._executions = executions
        self._agents = agents
        self._clock = clock

    async def get(self, principal: Principal, conversation_id: str) -> ConversationView:
        """Return one conversation. Raises ConversationNotFound, InvalidId, MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        workspace_id, found = principal.workspace_id, parse(CONVERSATION, conversation_id)
        conversation = await self._store.conversations.get(workspace_id, found)
        return ConversationView(
            conversation, await self._store.conversations.turns(workspace_id, found)
        )

    async def row(self, principal: Principal, conversation_id: str) -> ConversationSummary:
        """Return one without its turns. Raises ConversationNotFound, InvalidId, MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        workspace_id, found = principal.workspace_id, parse(CONVERSATION, conversation_id)
        one = await self._store.conversations.get(workspace_id, found)
        return ConversationSummary(one, await self._agents.known.name(workspace_id, one.agent_id))

    async def export(self, principal: Principal, conversation_id: str) -> tuple[Export, str]:
        """Return the export of a conversation, and its agent's name.

        Raises ConversationNotFound, InvalidId, MissingScope.
        """
        principal.require(Scope.EXECUTIONS_READ)
        workspace_id, found = principal.workspace_id, parse(CONVERSATION, conversation_id)
        conversation = await self._store.conversations.get(workspace_id, found)
        agent = await self._agents.known.name(workspace_id, conversation.agent_id)
        return Export(self._store, conversation), agent

    async def page(
        self, principal: Principal, wanted: ConversationFilter, limit: int
    ) -> tuple[list[ConversationSummary], bool]:
        """Return a page, newest activity first, and whether there are more. Raises MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        found = await self._store.conversations.page(principal.workspace_id, wanted, limit)
        listed = [
            ConversationSummary(one, await self._agents.known.name(one.workspace_id, one.agent_id))
            for one in found[:limit]
        ]
        return listed, len(found) > limit

    async def delete(self, principal: Principal, conversation_id: str) -> None:
        """Cancel its live executions, then delete all turns for good; the records stay, purged.

        Raises ConversationNotFound, Conflict (executions keep being started), InvalidId,
        MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        workspace_id, found = principal.workspace_id, parse(CONVERSATION, conversation_id)
        await self._store.conversations.get(workspace_id, found)
        await self._executions.cancel_conversation(principal, found)
        await self._store.conversations.delete(workspace_id, found, self._clock.now())
