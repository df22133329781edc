"""What running calls have recorded at once, in turn with everything else: handles, and requests."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from outlast.engine.segment.segment import Segment
from outlast.engine.segment.writer import SegmentWriter
from outlast.model.event import Event, ToolDeferred
from outlast.model.wait import Wait
from outlast.store.waits.above import requested_of_client


@dataclass(frozen=True, slots=True)
class _Given:
    event: Event
    waits: tuple[Wait, ...]
    done: asyncio.Future[None]


class Handles:
    """Handles of the calls of one answer that are to be recorded, and waits that they hold open.

    A segment makes one commit at a time, so a call hands over what it has, and whoever records the
    calls' ends records it.
    """

    def __init__(self) -> None:
        self._given: deque[_Given] = deque()
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when there is one to record."""

    async def defer(self, step: int, tool_call_id: str, handle: dict[str, Any]) -> None:
        """Return once the handle is recorded."""
        await self._give(ToolDeferred(step, tool_call_id, handle))

    async def request(self, wait: Wait) -> None:
        """Return once the wait is recorded."""
        await self._give(requested_of_client(wait), wait)

    async def _give(self, event: Event, *waits: Wait) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._given.append(_Given(event, waits, done))
        if not self.arrived.done():
            self.arrived.set_result(None)
        await done

    async def record(self, segment: Segment, writer: SegmentWriter) -> None:
        """Record those that are there."""
        if not self._given:
            return
        given = [one for one in self._given if not one.done.cancelled()]
        self._given.clear()
        self.arrived = asyncio.get_running_loop().create_future()
        waits = tuple(wait for one in given for wait in one.waits)
        await writer.record(segment, tuple(one.event for one in given), waits=waits)
        for one in given:
            if isinstance(one.event, ToolDeferred):
                segment.handles[one.event.tool_call_id] = one.event.handle
            if not one.done.done():
                one.done.set_result(None)
