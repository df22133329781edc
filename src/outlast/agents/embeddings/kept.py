"""The vectors of memory stores, kept in memory between searches.

A read of a store tells how often its vectors have changed (see `store.memory.vectors`). Of one that
is kept, only what has changed since is read: so a search finds what it would find in the database,
whichever process has written. Where something was deleted, all is read anew.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakValueDictionary

from outlast.model.memory import VectorsState
from outlast.store.memory.vectors import Vectors

if TYPE_CHECKING:
    import numpy as np

    Table: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

_BYTES_OF_NAME: Final = 100
"""Memory of an item's id."""


@dataclass(frozen=True, slots=True)
class StoreVectors:
    """The vectors of a store; never changed."""

    ids: Sequence[str]
    """The items, in the order of the rows."""
    table: "Table"
    """A row of unit length for each item."""
    state: VectorsState
    """The state that all of it is from, or newer."""

    @property
    def dimensions(self) -> int:
        """Of each vector; 0 where there is none."""
        return int(self.table.shape[1])

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return int(self.table.nbytes) + _BYTES_OF_NAME * len(self.ids)


class KeptVectors:
    """Keeps the stores that were searched last, up to a number of bytes."""

    def __init__(self, vectors: Vectors, most_bytes: int) -> None:
        self._vectors = vectors
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, StoreVectors] = OrderedDict()
        """The one that was searched last is the last."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.bytes = 0

    async def of_store(self, store_id: str, state: VectorsState) -> StoreVectors:
        """Return the vectors that a store has; `state` was read from it just now."""
        turn = self._turns.setdefault(store_id, asyncio.Lock())
        async with turn:  # so that a store is read once for many searches at the same time
            known = self._kept.get(store_id)
            if known is None or known.state.changed < state.changed:
                known = await self._read(store_id, known, state)
            self._keep(store_id, known)
        return known

    async def _read(
        self, store_id: str, known: StoreVectors | None, state: VectorsState
    ) -> StoreVectors:
        """Read what has changed, or all."""
        if known is not None and known.state.deleted != state.deleted:
            known = None
        since = None if known is None else known.state.changed
        changed = await self._vectors.changed(store_id, since)
        return await asyncio.to_thread(_merged, known, changed, state)

    def _keep(self, store_id: str, one: StoreVectors) -> None:
        """Keep a store's vectors, and as many others as there is room for."""
        before = self._kept.pop(store_id, None)
        self.bytes -= 0 if before is None else before.bytes
        if one.bytes > self._most_bytes:
            return
        self._kept[store_id] = one
        self.bytes += one.bytes
        while self.bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= oldest.bytes


def _merged(
    known: StoreVectors | None, changed: Mapping[str, bytes | None], state: VectorsState
) -> StoreVectors:
    """Return the vectors with what has changed. Runs long: for a thread."""
    import numpy as np

    made = {item_id: vector for item_id, vector in changed.items() if vector is not None}
    flat = np.frombuffer(b"".join(made.values()), dtype="<f4")
    table = flat.reshape(len(made), -1) if made else np.empty((0, 0), dtype="<f4")
    if known is None or not known.ids:
        return StoreVectors([*made], table, state)
    stays = [item_id not in changed for item_id in known.ids]
    ids = [item_id for item_id, stayed in zip(known.ids, stays, strict=True) if stayed]
    left = known.table if len(ids) == len(known.ids) else known.table[np.array(stays)]
    if made:
        left = np.concatenate((left, table)) if ids else table
    return StoreVectors([*ids, *made], left, state)
