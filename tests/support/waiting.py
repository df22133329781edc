"""Waiting for what no event announces, within a bound."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

BOUND: Final = 120.0
"""Seconds that a test waits at most for something that takes a fraction of a second."""
LOOK_SECONDS: Final = 0.02
"""Between two looks at another process or its tables."""


async def until(holds: Callable[[], bool]) -> None:
    """Return once it holds; meanwhile the other tasks of this loop go on."""
    async with asyncio.timeout(BOUND):
        while not holds():  # noqa: ASYNC110 - any condition, without an event
            await asyncio.sleep(0)


async def until_found(
    look: Callable[[], Awaitable[T | None]], seconds: float = BOUND, pause: float = LOOK_SECONDS
) -> T:
    """Look again and again at what another process changes; return what is true at last."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - another process sets no event here
            await asyncio.sleep(pause)
    return found
