"""Executions that may have killed their process are run apart from each other.

What ran in a crash is not known to have caused it. An execution whose last segments all ended so
waits here before its next try counts: one passes at first, and whenever one has made progress or
has run for a while, twice as many. So one that kills its process each time uses up its own tries,
not its neighbours'.
"""

import asyncio
from collections import deque
from typing import Final

SUSPECT_TRIES: Final = 2
"""Tries without progress from which on an execution is a suspect."""


class Suspects:
    """A door that opens wider with each execution that proves harmless."""

    def __init__(self) -> None:
        self._width = 1
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Return once there is a place, in the order of the calls; `leave` gives it back."""
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
        """Give a place back; `harmless` of an execution that has made progress."""
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
