"""Cached values with an expiry; concurrent callers share one read."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from outlast.model.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Fresh(Generic[K, V]):
    """Caches values for `seconds` from the begin of their read."""

    def __init__(self, clock: Clock, seconds: float, most: int) -> None:
        """`most`: maximum number of cached values."""
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._known: dict[K, tuple[float, V]] = {}
        self._reading: dict[K, tuple[float, asyncio.Future[V]]] = {}

    def forget(self) -> None:
        """Drop all values; a read under way is not cached."""
        self._known.clear()
        self._reading.clear()

    async def get(self, name: K, read: Callable[[], Awaitable[V]]) -> V:
        """Return the value of this name, by `read` if it has expired. Raises its errors."""
        while True:
            now = self._clock.monotonic()
            known = self._known.get(name)
            if known is not None and now - known[0] < self._seconds:
                return known[1]
            reading = self._reading.get(name)
            if reading is None or now - reading[0] >= self._seconds:
                return await self._read(name, now, read)
            await asyncio.wait({reading[1]})
            if not reading[1].cancelled():
                return reading[1].result()

    async def _read(self, name: K, now: float, read: Callable[[], Awaitable[V]]) -> V:
        """Read for all waiting callers; if this one is cancelled, another one reads."""
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._reading[name] = reading = now, future
        try:
            value = await read()
        except Exception as error:
            future.set_exception(error)
            future.exception()  # it is raised here, and by those who wait, if any
            raise
        else:
            future.set_result(value)
            if self._reading.get(name) is reading:
                if len(self._known) >= self._most:
                    self._known.clear()
                self._known[name] = (now, value)
            return value
        finally:
            future.cancel()
            if self._reading.get(name) is reading:
                del self._reading[name]
