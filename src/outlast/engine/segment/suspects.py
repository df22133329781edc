"""Runs executions that may have killed their process apart from each other.

An execution that ran in a crash need not have caused it. One whose last segments all ended that way
waits here before its next try counts: one passes at first, and each time one has made progress or
has run for a while, twice as many. So one that kills its process each time uses up its own tries,
not those of others.
"""

import asyncio
from collections import deque
from typing import Final

SUSPECT_TRIES: Final = 2
"""Tries without progress after which an execution is a suspect."""


class Suspects:
    """Bounds concurrent suspects; the bound grows with each that proves harmless."""

    def __init__(self) -> None:
        self._width = 1
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a slot, in the order of the calls; `leave` returns it."""
        if not self._waiting and self._inside < self._width:
            self._inside += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave(harmless=False)
            raise

    def leave(self, *, harmless: bool) -> None:
        """Return a slot; `harmless` if the execution has made progress."""
        self._inside -= 1
        if harmless:
            self._width *= 2
        while self._waiting and self._inside < self._width:
            place = self._waiting.popleft()
            if not place.done():
                self._inside += 1
                place.set_result(None)
        if not self._inside and not self._waiting:
            self._width = 1
