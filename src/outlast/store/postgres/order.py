"""Orders writes of one execution by the calls, across connections."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager


class Order:
    """Queues writes per execution."""

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def turn(self, keys: Sequence[str]) -> AsyncIterator[None]:
        """Wait for all earlier writes of these executions; later ones wait for this one.

        If a waiting write is cancelled, later ones still wait for the earlier ones.
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
        """Let later writes continue once none of `open_` is left."""
        if open_:
            open_[0].add_done_callback(
                lambda _: self._end(done, keys, [write for write in open_ if not write.done()])
            )
            return
        done.set_result(None)
        for key in keys:
            if self._last.get(key) is done:
                del self._last[key]
