"""Transactions on conversations."""

from dataclasses import dataclass
from typing import Any, Final

from outlast.model.conversation import Conversation
from outlast.model.error import ConversationNotFound
from outlast.store.conversations.delete import delete_conversation, purge
from outlast.store.conversations.rows import CONVERSATION, conversation_from, list_conversations
from outlast.store.conversations.turns import History, TurnStamp, read_turn_stamps, read_turns
from outlast.store.driver import Driver, Query, Transaction, TransactionResult


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Filter of a list of conversations; None means any."""

    agent_id: str | None = None
    user: str | None = None
    """The caller's end user."""
    after: tuple[int, str] | None = None
    """(last activity, id) of the conversation after which the page begins."""


_PURGED_AT_ONCE: Final = 50
"""Executions whose content one transaction deletes, at most."""


def _get(workspace_id: str, conversation_id: str) -> Transaction[Conversation]:
    """Read one row of the workspace."""
    rows = yield Query(CONVERSATION, {"workspace": workspace_id, "conversation": conversation_id})
    if not rows:
        raise ConversationNotFound
    return TransactionResult(conversation_from(rows[0]))


def _page(
    workspace_id: str, wanted: ConversationFilter, limit: int
) -> Transaction[list[Conversation]]:
    """Read a page by keyset, and one more row to tell whether there are more."""
    given: dict[str, Any] = {}
    if wanted.agent_id is not None:
        given["agent_id"] = wanted.agent_id
    if wanted.user is not None:
        given["user"] = wanted.user
    filters = frozenset(given)
    if wanted.after is not None:
        filters |= {"after"}
        given["after_at"], given["after_id"] = wanted.after
    rows = yield Query(
        list_conversations(filters), given | {"workspace": workspace_id, "limit": limit + 1}
    )
    return TransactionResult([conversation_from(row) for row in rows])


class ConversationStore:
    """Conversations and their content."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def get(self, workspace_id: str, conversation_id: str) -> Conversation:
        """Return one conversation. Raises ConversationNotFound."""
        return await self._driver.read(lambda: _get(workspace_id, conversation_id))

    async def page(
        self, workspace_id: str, wanted: ConversationFilter, limit: int
    ) -> list[Conversation]:
        """Return a page, newest activity first, and one more if there are more."""
        return await self._driver.read(lambda: _page(workspace_id, wanted, limit))

    async def turns(
        self,
        workspace_id: str,
        conversation_id: str,
        before: int | None = None,
        since: int = 1,
    ) -> tuple[History, ...]:
        """Return the conversation's executions by turn, from `since`, earlier than `before`."""
        return await self._driver.read(
            lambda: read_turns(workspace_id, conversation_id, before, since), snapshot=True
        )

    async def turn_stamps(
        self, workspace_id: str, conversation_id: str, before: int
    ) -> tuple[TurnStamp, ...]:
        """Return stamps of the turns before `before` that the client has not cut, by turn."""
        return await self._driver.read(
            lambda: read_turn_stamps(workspace_id, conversation_id, before)
        )

    async def purge(self, limit: int) -> int:
        """Delete remaining content of deleted conversations, of all workspaces.

        Return the number of executions, at most `limit`; 0 once nothing is left.
        """
        return await self._driver.write(lambda: purge(limit))

    async def delete(self, workspace_id: str, conversation_id: str, at: int) -> None:
        """Delete all turns for good; executions stay as purged records.

        They are hidden once the first commit is done; what a crash leaves is deleted by `purge`.

        Raises ConversationNotFound, and Conflict if one is live.
        """
        await self._driver.write(lambda: delete_conversation(workspace_id, conversation_id, at))
        while await self.purge(_PURGED_AT_ONCE):
            pass
