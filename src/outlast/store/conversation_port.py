"""The store's port for conversations."""

from dataclasses import dataclass
from typing import Protocol

from outlast.model.conversation import Conversation
from outlast.model.execution import Execution, Step


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Which conversations a list shows; None means any."""

    agent_id: str | None = None
    user: str | None = None
    """The caller's end user."""
    after: tuple[int, str] | None = None
    """(last activity, id) of the conversation that the list goes on behind."""


@dataclass(frozen=True, slots=True)
class History:
    """One earlier turn of a conversation: the execution and what it recorded."""

    execution: Execution
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class TurnStamp:
    """What tells that an earlier turn has changed: equal stamps, equal content."""

    execution_id: str
    turn: int
    status: str
    segment: int
    steps: int
    updated_at: int
    is_purged: bool


class ConversationStore(Protocol):
    """Conversations and what was said in them."""

    async def conversation(self, workspace_id: str, conversation_id: str) -> Conversation:
        """One conversation. Raises ConversationNotFound."""
        ...

    async def conversations(
        self, workspace_id: str, wanted: ConversationFilter, limit: int
    ) -> list[Conversation]:
        """Newest activity first; one more than the limit where there are more."""
        ...

    async def turns(
        self,
        workspace_id: str,
        conversation_id: str,
        before: int | None = None,
        since: int = 1,
    ) -> tuple[History, ...]:
        """The conversation's executions by turn, from `since` on, without the turn `before`."""
        ...

    async def turn_stamps(
        self, workspace_id: str, conversation_id: str, before: int
    ) -> tuple[TurnStamp, ...]:
        """Stamps of the turns before `before` that the client has not cut, by turn."""
        ...

    async def purge(self, limit: int) -> int:
        """Delete what is left of turns of deleted conversations, of all workspaces.

        Return how many executions there were, at most `limit`: 0 once nothing is left.
        """
        ...

    async def delete_conversation(self, workspace_id: str, conversation_id: str, at: int) -> None:
        """Delete all turns for good; executions stay as purged records.

        Nothing is shown of them once the first commit is done; what a crash leaves behind it is
        deleted by `purge`.

        Raises ConversationNotFound, and Conflict where one is live.
        """
        ...
