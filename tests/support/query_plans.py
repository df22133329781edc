"""Every statement by its name, and the lists with the index that each walks down."""

from collections.abc import Iterator
from types import ModuleType

from outlast.store import agents, charges, checkpoints, idempotency, keys, records, usage
from outlast.store.budgets import ledger, levels
from outlast.store.budgets import reserve as budget_reserve
from outlast.store.budgets import tables as budgets
from outlast.store.conversations import content, retention
from outlast.store.conversations import delete as conversation_delete
from outlast.store.conversations import rows as conversation_rows
from outlast.store.conversations import turns as conversation_turns
from outlast.store.driver import Statement
from outlast.store.executions import (
    below,
    browsers,
    children,
    cuts,
    delete,
    lists,
    log,
    pauses,
    spending,
    spent_below,
    statements,
    steps,
)
from outlast.store.memory import rows as memory
from outlast.store.memory import vectors
from outlast.store.schedules import statements as schedules
from outlast.store.tasks import rows as tasks
from outlast.store.waits import above, child_ends, shown
from outlast.store.waits import rows as waits

MODULES = (
    agents,
    above,
    below,
    browsers,
    children,
    child_ends,
    waits,
    budgets,
    budget_reserve,
    ledger,
    levels,
    charges,
    checkpoints,
    content,
    conversation_rows,
    conversation_delete,
    conversation_turns,
    cuts,
    delete,
    idempotency,
    keys,
    lists,
    log,
    memory,
    pauses,
    records,
    retention,
    schedules,
    shown,
    spent_below,
    spending,
    statements,
    steps,
    tasks,
    usage,
    vectors,
)
CONVERSATION = "ix_executions_workspace_id_conversation_id_id"
LISTS = {
    (): "ix_executions_workspace_id_id",
    ("status",): "ix_executions_shown_status",
    ("agent_id",): "ix_executions_workspace_id_agent_id_id",
    ("conversation_id",): CONVERSATION,
    ("parent_id",): "ix_executions_parent_id",
    ("root_id",): "ix_executions_root_id",
    ("chat_id",): "ix_executions_chat_id",
    ("user",): "ix_executions_end_user",
}
CONVERSATIONS = {
    (): "ix_conversations_workspace_id_last_active_at_id",
    ("agent_id",): "ix_conversations_agent_id",
    ("user",): "ix_conversations_end_user",
}
"""Lists of conversations, by their filters."""
MORE: tuple[tuple[str, ...], ...] = (
    (),
    ("after",),
    ("before",),
    ("created_from", "created_before"),
)
"""What a list may be requested with besides its filters."""


def statements_of(module: ModuleType) -> Iterator[tuple[str, Statement]]:
    for name, value in vars(module).items():
        for number, found in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(found, Statement):
                yield (f"{name}[{number}]" if isinstance(value, tuple) else name), found


STATEMENTS = {name: found for module in MODULES for name, found in statements_of(module)}
