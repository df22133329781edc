"""Handles that running calls have recorded at once, in turn with everything else."""

import asyncio
from collections import deque
from typing import Any

from outlast.engine.segment.segment import Segment
from outlast.engine.segment.writer import SegmentWriter
from outlast.model.event import ToolDeferred


class Handles:
    """Handles of the calls of one answer that are to be recorded.

    A segment makes one commit at a time, so a call hands over what it has, and whoever records the
    calls' ends records it.
    """

    def __init__(self) -> None:
        self._given: deque[tuple[ToolDeferred, asyncio.Future[None]]] = deque()
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when there is one to record."""

    async def defer(self, step: int, tool_call_id: str, handle: dict[str, Any]) -> None:
        """Return once the handle is recorded."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._given.append((ToolDeferred(step, tool_call_id, handle), done))
        if not self.arrived.done():
            self.arrived.set_result(None)
        await done

    async def record(self, segment: Segment, writer: SegmentWriter) -> None:
        """Record those that are there."""
        if not self._given:
            return
        given, self._given = list(self._given), deque()
        self.arrived = asyncio.get_running_loop().create_future()
        await writer.record(segment, tuple(event for event, _ in given))
        for event, done in given:
            segment.handles[event.tool_call_id] = event.handle
            if not done.done():
                done.set_result(None)
