"""Writes of one execution take effect in the order of the calls, whatever their connection."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager


class Order:
    """Gives each write its turn."""

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def turn(self, keys: Sequence[str]) -> AsyncIterator[None]:
        """Wait until every earlier write of one of these is done; later ones wait for this one.

        A write that is cancelled while it waits lets later ones go on behind the earlier ones only.
        """
        earlier = [self._last[key] for key in keys if key in self._last]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last.update(dict.fromkeys(keys, done))
        try:
            for write in earlier:
                await asyncio.shield(write)
            yield
        finally:
            self._end(done, keys, [write for write in earlier if not write.done()])

    def _end(
        self, done: asyncio.Future[None], keys: Sequence[str], open_: list[asyncio.Future[None]]
    ) -> None:
        """Let later writes go on as soon as none of `open_` is left."""
        if open_:
            open_[0].add_done_callback(
                lambda _: self._end(done, keys, [write for write in open_ if not write.done()])
            )
            return
        done.set_result(None)
        for key in keys:
            if self._last.get(key) is done:
                del self._last[key]
