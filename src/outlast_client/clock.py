"""Time and random ids of the client; tests give it a clock of their own."""

import os
import time
from typing import Protocol


class Clock(Protocol):
    """What the async client needs of time."""

    def monotonic(self) -> float:
        """Return seconds since some moment."""

    async def sleep(self, seconds: float) -> None:
        """Sleep."""

    def new_id(self, prefix: str) -> str:
        """Return an id that is not in use."""


class SyncClock(Protocol):
    """What the blocking client needs of time."""

    def monotonic(self) -> float:
        """Return seconds since some moment."""

    def sleep(self, seconds: float) -> None:
        """Sleep."""

    def new_id(self, prefix: str) -> str:
        """Return an id that is not in use."""


class SyncSystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def new_id(self, prefix: str) -> str:
        """Return an id that is not in use."""
        return f"{prefix}_{os.urandom(16).hex()}"


class SystemClock(SyncSystemClock):
    """The machine's clock, for async code."""

    async def sleep(self, seconds: float) -> None:  # type: ignore[override]
        """Sleep."""
        import asyncio

        await asyncio.sleep(seconds)
