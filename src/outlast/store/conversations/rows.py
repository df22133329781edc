"""Conversations: the table, statements on its rows alone, and row conversions."""

from functools import cache
from typing import Final

import orjson
from sqlalchemy import (
    Column,
    Index,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.conversation import Conversation
from outlast.store.driver import Row, Statement, query_and_change
from outlast.store.executions.tables import executions
from outlast.store.tables import count, identifier, json, metadata, time
from outlast.store.workspaces import workspaces

conversations: Final = Table(
    "conversations",
    metadata,
    identifier("id", primary_key=True),
    identifier("workspace_id"),
    identifier("agent_id"),
    count("turns"),
    json("session"),
    time("created_at"),
    time("last_active_at"),
    # Since 0007:
    Column("end_user", Text),
    Index(None, "workspace_id", "last_active_at", "id"),
    Index("ix_conversations_agent_id", "workspace_id", "agent_id", "last_active_at", "id"),
    Index(
        "ix_conversations_end_user",
        "workspace_id",
        "end_user",
        "last_active_at",
        "id",
        sqlite_where=text("end_user IS NOT NULL"),
    ),
)

INSERT_CONVERSATION: Final = Statement(insert(conversations))

_conversation: Final = select(*conversations.c).where(
    conversations.c.id == bindparam("conversation"),
    conversations.c.workspace_id == bindparam("workspace"),
)

CONVERSATION: Final = Statement(_conversation)

LOCK_CONVERSATION: Final = Statement(_conversation.with_for_update())
"""Locks a conversation: no turn is added, ended or deleted until this transaction ends; the first
statement."""


@cache
def list_conversations(filters: frozenset[str]) -> Statement:
    """Select a page by keyset, with filters of these names; each has an index of its own."""
    conditions: dict[str, ColumnElement[bool]] = {
        "agent_id": conversations.c.agent_id == bindparam("agent_id"),
        "user": conversations.c.end_user == bindparam("user"),
        "after": tuple_(conversations.c.last_active_at, conversations.c.id)
        < tuple_(bindparam("after_at"), bindparam("after_id")),
    }
    return Statement(
        select(*conversations.c)
        .where(
            conversations.c.workspace_id == bindparam("workspace"),
            *(conditions[name] for name in sorted(filters)),
        )
        .order_by(conversations.c.last_active_at.desc(), conversations.c.id.desc())
        .limit(bindparam("limit"))
    )


CONTINUE_CONVERSATION: Final = Statement(
    update(conversations)
    .where(
        conversations.c.id == bindparam("conversation"),
        conversations.c.workspace_id == bindparam("workspace"),
    )
    .values(
        turns=conversations.c.turns + 1,
        session=bindparam("new_session"),
        last_active_at=bindparam("at"),
    )
    .returning(conversations.c.turns)
)

_touch: Final = (
    update(conversations)
    .where(
        conversations.c.id == bindparam("conversation"),
        conversations.c.workspace_id == bindparam("workspace"),
    )
    .values(last_active_at=bindparam("at"))
)

TOUCH_CONVERSATION: Final = Statement(
    _touch.returning(conversations.c.turns), apart=query_and_change(_touch, conversations.c.turns)
)
"""Locks the turns like `LOCK_TURNS`; returns the number of the newest."""

_called: Final = executions.alias("called")

DECIDED_IN_CONVERSATION: Final = Statement(
    update(conversations)
    .where(
        conversations.c.workspace_id == bindparam("workspace"),
        conversations.c.last_active_at < bindparam("at"),
        conversations.c.id
        == select(executions.c.conversation_id)
        .join(_called, executions.c.id == func.coalesce(_called.c.root_id, _called.c.id))
        .where(_called.c.id == bindparam("id"), _called.c.workspace_id == bindparam("workspace"))
        .scalar_subquery(),
    )
    .values(last_active_at=bindparam("at"))
)
"""A decision in an execution, or in what it has called, is activity of the conversation. It locks
the conversation, so it comes before the executions are locked."""

LOCK_TURNS: Final = Statement(
    select(conversations.c.id)
    .where(
        conversations.c.id == bindparam("conversation"),
        conversations.c.workspace_id == bindparam("workspace"),
    )
    .with_for_update()
)
"""Locks the turns: none is added, ended or resumed until this transaction ends."""


def conversation_from(row: Row) -> Conversation:
    """Return the conversation of all columns of `conversations`."""
    conversation_id, workspace_id, agent_id, turns, session, created_at, last_active_at, user = row
    return Conversation(
        conversation_id,
        workspace_id,
        agent_id,
        created_at,
        last_active_at,
        turns,
        orjson.loads(session),
        user,
    )


LOCK_CHATS: Final = Statement(
    select(workspaces.c.id)
    .where(workspaces.c.id == bindparam("workspace"))
    .with_for_update(key_share=True)
)
"""Locks a workspace's chats, before executions and agents, which can still be created."""

CONVERSATION_OF_CHAT: Final = Statement(
    select(executions.c.conversation_id, executions.c.is_purged)
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.chat_id == bindparam("chat_id"),
    )
    .order_by(executions.c.id.desc())
    .limit(1)
)
"""Selects the conversation of a chat's newest execution, and whether its content was deleted."""
