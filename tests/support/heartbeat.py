"""How long an event loop stands still while something runs on it."""

import asyncio
from typing import Self

STILL = 3.0
"""Seconds that a loop may stand still on a busy machine; what is wrong takes many times that."""


class Heartbeat:
    """Beats a hundred times a second, and keeps the longest gap between two beats."""

    def __init__(self) -> None:
        self.longest = 0.0
        """Seconds."""
        self.beats = 0

    async def __aenter__(self) -> Self:
        self._beating = asyncio.create_task(self._beat(), name="heartbeat")
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)  # the gap that is open ends here
        self._note()
        self._beating.cancel()
        await asyncio.wait({self._beating})

    async def _beat(self) -> None:
        self._last = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(0.01)
            self.beats += 1
            self._note()

    def _note(self) -> None:
        now = asyncio.get_running_loop().time()
        self.longest = max(self.longest, now - self._last)
        self._last = now
