"""Reads an execution's log from a cursor on, a bounded number of large ones at a time.

Each new stream reads the log by itself. Those of large executions hold megabytes until their
clients have read them, so they take turns: the data that all streams of a process have read and not
passed on is bounded, however many begin together. Small ones never wait.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from itertools import islice
from typing import Final

from outlast.model.event import Cursor, Entry, expand
from outlast.store.executions.store import ExecutionStore

_BATCH: Final = 256
"""Entries per batch."""
_LONG: Final = 1024 * 1024
"""Characters after which a replay counts as long."""
_LONG_AT_ONCE: Final = 8
_LARGE_AT_ONCE: Final = 1
"""Maximum replays that hold an entry too large for a page, or frames made of one."""


class Replays:
    """The replays of one process."""

    def __init__(self, store: ExecutionStore) -> None:
        self._store = store
        self._long = asyncio.Semaphore(_LONG_AT_ONCE)
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def entries(
        self, workspace_id: str, execution_id: str, after: Cursor, *, whole: bool = False
    ) -> AsyncGenerator[list[Entry], None]:
        """Yield the entries after the cursor, piece by piece, in batches, one of which is held.

        `whole`: as they are stored, an entry with many pieces; the cursor is the end of one.

        Close the generator: a long replay keeps others waiting.
        """
        position, more, size = after, True, 0
        is_long = is_large = False
        async with AsyncExitStack() as turn:
            while more:
                page = await self._store.log_page(workspace_id, execution_id, position)
                more, size, entries = page.more, size + page.size, page.entries
                if size > _LONG and not is_long:
                    is_long = True
                    await turn.enter_async_context(self._long)
                if page.is_cut and not entries:
                    if not is_large:
                        is_large = True
                        await turn.enter_async_context(self._large)
                    entries = await self._store.log(workspace_id, execution_id, position, 1)
                pieces = iter(entries) if whole else expand(entries, position)
                del page, entries
                while batch := list(islice(pieces, _BATCH)):
                    position = batch[-1].cursor
                    yield batch
