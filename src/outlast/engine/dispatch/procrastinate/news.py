"""Whether the queue may have a job: none is fetched that nothing speaks of."""

import asyncio
from math import inf


class News:
    """Jobs that were announced one by one, or any number that may be there."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._announced = inf
        self._fetching = 0.0

    @property
    def pending(self) -> bool:
        """Whether a fetch may find a job."""
        return self._announced > 0

    def job(self) -> None:
        """Note that one job was added."""
        self._announced += 1
        self._changed.set()

    def look(self) -> None:
        """Let the queue be looked at until it is empty."""
        self._announced = inf
        self._changed.set()

    def fetch(self) -> None:
        """Begin a fetch; it may not see what is announced from now on."""
        self._announced, self._fetching = 0, self._announced

    def fetched(self, *, found: bool) -> None:
        """End it: one of those is taken, or there is none."""
        if found:
            self._announced += self._fetching - 1

    def begin(self) -> None:
        """Let `wait` return for what comes from now on."""
        self._changed.clear()

    async def wait(self, seconds: float) -> None:
        """Wait for news; after so many seconds, look without."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            self.look()
