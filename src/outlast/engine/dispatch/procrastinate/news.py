"""Whether the queue may have a job; without an announcement none is fetched."""

import asyncio
from math import inf


class News:
    """Counts announced jobs, or an unknown number."""

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
        """Make workers fetch until the queue is empty."""
        self._announced = inf
        self._changed.set()

    def fetch(self) -> None:
        """Begin a fetch, which may miss later announcements."""
        self._announced, self._fetching = 0, self._announced

    def fetched(self, *, found: bool) -> None:
        """End a fetch: a job was taken, or there is none."""
        if found:
            self._announced += self._fetching - 1

    def begin(self) -> None:
        """Let `wait` return only for later announcements."""
        self._changed.clear()

    async def wait(self, seconds: float) -> None:
        """Wait for an announcement, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            self.look()
