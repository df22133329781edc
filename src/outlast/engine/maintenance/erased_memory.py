"""Erases what deleted memory stores and items have left behind, in batches."""

from typing import Final

from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.store.memory.store import Memories

ERASE: Final = "memory"
_EVERY_SECONDS: Final = 60.0
_LIMIT: Final = 200


class ErasedMemory:
    """Deletes the contents of deleted stores, and deleted words from the index."""

    def __init__(self, store: Memories) -> None:
        self._store = store

    @property
    def duty(self) -> MaintenanceDuty:
        """Every minute."""
        return MaintenanceDuty(ERASE, _EVERY_SECONDS, _LIMIT, self._store.erase)
