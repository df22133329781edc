"""Transactions on conversations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outlast.model.conversation import Conversation
from outlast.model.error import Conflict, ConversationNotFound
from outlast.model.execution import Execution
from outlast.store.conversations.content import FEW, MANY, Amount, OfConversation, purge
from outlast.store.conversations.delete import delete_conversation, delete_if_due
from outlast.store.conversations.export import (
    ExportedStep,
    read_below,
    read_next_turn,
    read_some_steps,
)
from outlast.store.conversations.retention import (
    Cutoffs,
    DueConversation,
    DueCount,
    count_due,
    count_inactive,
    read_due,
    sum_due,
)
from outlast.store.conversations.rows import CONVERSATION, conversation_from, list_conversations
from outlast.store.conversations.turns import History, TurnStamp, read_turn_stamps, read_turns
from outlast.store.driver import PING, Driver, Query, Transaction, TransactionResult


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """Filter of a list of conversations; None means any."""

    agent_id: str | None = None
    user: str | None = None
    """The caller's end user."""
    after: tuple[int, str] | None = None
    """(last activity, id) of the conversation after which the page begins."""


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


def _erase() -> Transaction[None]:
    """Change nothing; after it the database's files hold nothing that was deleted."""
    yield Query(PING, {})
    return TransactionResult(None, erased=True)


class ConversationStore:
    """Conversations and their content."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def at_once(self) -> Amount:
        """What one transaction of a purge deletes, at most."""
        return MANY if self._driver.joins else FEW

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

    async def next_turn(
        self, workspace_id: str, conversation_id: str, after: str
    ) -> Execution | None:
        """Return the first execution after this one, superseded or not; None after the last."""
        return await self._driver.read(lambda: read_next_turn(workspace_id, conversation_id, after))

    async def below(self, workspace_id: str, execution_id: str) -> list[str]:
        """Return the ids of all that an execution has called, on all levels, oldest first."""
        return await self._driver.read(lambda: read_below(workspace_id, execution_id))

    async def some_steps(
        self, workspace_id: str, execution_id: str, behind: int, limit: int
    ) -> list[ExportedStep]:
        """Return up to `limit` steps after a number, superseded ones too."""
        return await self._driver.read(
            lambda: read_some_steps(workspace_id, execution_id, behind, limit)
        )

    async def delete(self, workspace_id: str, conversation_id: str, at: int) -> None:
        """Delete all turns for good; executions stay as purged records.

        They are hidden once the first commit is done; what a crash leaves is deleted by `purge`.

        Raises ConversationNotFound, and Conflict if one is live.
        """
        await self._driver.write(lambda: delete_conversation(workspace_id, conversation_id, at))
        of = OfConversation(workspace_id, conversation_id)
        while await self._driver.write(lambda: purge(of, erase=True)):
            pass

    async def purge(self, most: Amount | None = None) -> int:
        """Delete some of the content that deleted conversations have left, of all workspaces.

        Return the number of executions finished, at most as many as `most` (default: `at_once`)
        says; at least 1 while content is left, 0 at the end.
        It stays in the database's files until `erase`; a power cut may undo the last ones.
        """
        return await self._driver.write(lambda: purge(most=most or self.at_once), durable=False)

    async def erase(self) -> None:
        """Erase what was deleted from the database's files."""
        await self._driver.write(_erase)

    async def due(self, cutoffs: Cutoffs, limit: int) -> list[DueConversation]:
        """Return up to `limit` conversations of all workspaces that are past their retention."""
        return await self._driver.read(lambda: read_due(cutoffs, limit))

    async def count_due(self, cutoffs: Cutoffs, most: int) -> int:
        """Return how many there are, counted up to `most`."""
        return await self._driver.read(lambda: count_due(cutoffs, most))

    async def inactive(self, workspace_id: str, now: int, days: int) -> int:
        """Return how many conversations of a workspace would be due if it kept them so long."""
        return await self._driver.read(lambda: count_inactive(workspace_id, now, days))

    async def sum_due(self, cutoffs: Cutoffs) -> Sequence[DueCount]:
        """Return how many there are in each workspace that has any."""
        return await self._driver.read(lambda: sum_due(cutoffs))

    async def delete_if_due(self, due: Sequence[DueConversation], cutoffs: Cutoffs, at: int) -> int:
        """Delete conversations that are past their retention; `purge` deletes their content.

        Return how many still were. A power cut may undo it: then they are still due.
        """
        try:
            return await self._driver.write(lambda: delete_if_due(due, cutoffs, at), durable=False)
        except Conflict:  # something that one has called was resumed in that moment
            return 0
