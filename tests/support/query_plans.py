"""Every statement by its name, and the lists with the index that each walks down."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType

from outlast import store
from outlast.store.driver import Statement

CONVERSATION = "ix_executions_workspace_id_conversation_id_id"
LISTS = {
    (): "ix_executions_workspace_id_id",
    ("status",): "ix_executions_shown_status",
    ("roots",): "ix_executions_workspace_id_id",
    ("agent_id",): "ix_executions_workspace_id_agent_id_id",
    ("conversation_id",): CONVERSATION,
    ("parent_id",): "ix_executions_parent_id",
    ("root_id",): "ix_executions_root_id",
    ("chat_id",): "ix_executions_chat_id",
    ("user",): "ix_executions_end_user",
    ("agent_live",): "ix_executions_shown_status",
    ("agent_unsuccessful",): "ix_executions_unsuccessful",
    ("agent_completed",): "ix_executions_workspace_id_agent_id_id",
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
    ("created_from", "created_before", "id_from", "id_before"),
)
"""What a list may be requested with besides its filters."""


def statements_of(module: ModuleType) -> Iterator[tuple[str, Statement]]:
    for name, value in vars(module).items():
        for number, found in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(found, Statement):
                yield (f"{name}[{number}]" if isinstance(value, tuple) else name), found


def _statements() -> dict[str, Statement]:
    """Return the statements of all subjects; a name stands for one of them."""
    found: dict[str, Statement] = {}
    for module in walk_packages(store.__path__, f"{store.__name__}."):
        if module.name.startswith(_ONE_DATABASE):
            continue
        for name, statement in statements_of(import_module(module.name)):
            assert found.setdefault(name, statement) is statement, f"two statements {name}"
    return found


_ONE_DATABASE = ("outlast.store.postgres.", "outlast.store.sqlite.", "outlast.store.migrations.")
STATEMENTS = _statements()
