"""Logs text before it is shown, cheaply: pieces of all running steps share one commit.

The first piece of a step is written at once, later ones together every 20 to 50 ms depending on
load. One commit runs at a time; pieces that come meanwhile go with the next.
"""

import asyncio
from typing import Final

from outlast.duty import Failures
from outlast.engine.segment.segment import Segment, Stop
from outlast.model.clock import Clock
from outlast.model.error import Overloaded
from outlast.model.event import TextAdded, ThinkingAdded
from outlast.store.executions.store import ExecutionStore
from outlast.store.executions.values import TextAppend

_SHORTEST: Final = 0.020
_LONGEST: Final = 0.050


class TextLog:
    """Collects pieces of every segment of this process and appends them in groups."""

    def __init__(self, store: ExecutionStore, failures: Failures, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._failures = failures
        self._dirty: dict[Segment, None] = {}
        self._timer: asyncio.Handle | None = None
        self._due = 0.0
        self._flushing: asyncio.Task[None] | None = None
        self._interval = _SHORTEST
        self._hurry = False
        """A step's first piece came while a commit was running."""

    def add(
        self, segment: Segment, kind: type[TextAdded] | type[ThinkingAdded], piece: str
    ) -> None:
        """Log a piece of the open step of a segment, as come now."""
        first = segment.text.pieces == 0
        segment.text.add(self._clock, kind, piece)
        self._dirty[segment] = None
        if self._flushing is not None:
            self._hurry = self._hurry or first
        elif first or self._timer is None:  # the interval changes only while there is no timer
            self._flush_in(0 if first else self._interval)

    def forget(self, segment: Segment) -> None:
        """Drop the pieces not yet written: the commit of the step's end contains them."""
        self._dirty.pop(segment, None)

    def _flush_in(self, delay: float) -> None:
        loop = asyncio.get_running_loop()
        when = loop.time() + delay
        if self._timer is not None:
            if self._due <= when:
                return
            self._timer.cancel()
        self._due = when
        self._timer = loop.call_at(when, self._flush)

    def _flush(self) -> None:
        self._timer = None
        if self._flushing is None and self._dirty:
            self._flushing = asyncio.get_running_loop().create_task(self._append(), name="log_text")

    async def _append(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        segments, self._dirty = list(self._dirty), {}
        appends = [
            TextAppend(segment.execution, segment.text.take(segment.open_step))
            for segment in segments
        ]
        try:
            stops = await self._lost(appends)
        finally:
            self._flushing = None
        for segment, append, reason in zip(segments, appends, stops, strict=True):
            if reason is Stop.REFUSED:
                segment.text.not_taken(append.texts)
            if reason is not None:
                segment.stop(reason)
        self._interval = min(_LONGEST, max(_SHORTEST, 2 * (loop.time() - began)))
        hurry, self._hurry = self._hurry, False
        if self._dirty:
            self._flush_in(0 if hurry else self._interval)

    async def _lost(self, appends: list[TextAppend]) -> list[Stop | None]:
        """Append; return for each why its segment must stop, or None.

        If the database refuses a batch, each text is tried alone, so that it fails alone.
        """
        try:
            kept = await self._store.append_text(appends)
        except Exception as error:  # noqa: BLE001 - the log goes on for other segments
            self._failures.record("log_text", error)
            if isinstance(error, Overloaded):
                return [Stop.ABANDON] * len(appends)
            if len(appends) == 1:
                return [Stop.REFUSED]
            return [lost for append in appends for lost in await self._lost([append])]
        return [None if whole else Stop.ABANDON for whole in kept]
