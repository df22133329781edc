"""Completes interrupted deletions of conversations, in batches."""

from typing import Final

from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.store.conversations.store import ConversationStore

PURGE: Final = "purge"
_EVERY_SECONDS: Final = 60.0
_LIMIT: Final = 50


class DeletedContent:
    """Deletes content left behind; concurrent runs take different executions."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store

    @property
    def duty(self) -> MaintenanceDuty:
        """Every minute."""
        return MaintenanceDuty(PURGE, _EVERY_SECONDS, _LIMIT, self._store.purge)
