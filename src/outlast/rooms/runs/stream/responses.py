"""Server-sent events of a run: from its first commit, from an index, or after a decision."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias

from starlette.datastructures import Headers
from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.sse import EventStream
from outlast.model.client_call import ClientCallAnswered
from outlast.model.error import InvalidCursor
from outlast.model.event import (
    START,
    TERMINAL_EVENTS,
    ApprovalResolved,
    Cursor,
    Entry,
    ExecutionSuspended,
)
from outlast.rooms.runs.stream.awaited import Awaited
from outlast.rooms.runs.stream.formats import EXTRA_HEADERS, Format, fold
from outlast.rooms.runs.stream.frames import NumberedFrames
from outlast.services.all import Services

Log: TypeAlias = AsyncGenerator[list[Entry], None]

START_INDEX: Final = "x-stream-start-index"
TAIL_INDEX: Final = "x-workflow-stream-tail-index"
_LAST_EVENT_ID: Final = "Last-Event-ID"
_INDEX: Final = re.compile(r"-?[0-9]{1,16}")
PATIENCE_SECONDS: Final = 1.0
"""How long the response to a chat waits for a decision that a program may make at once."""


def live(
    call: Call,
    services: Services,
    execution_id: str,
    format: Format,
    log: Log,
    *,
    end: "End | None",
) -> EventStream:
    """Stream a new run from its first commit on.

    end: for a client that sends a decision or a result only after the end of the response; so the
    response ends when the run waits for one.
    """
    return _stream(call, services, execution_id, format, end=end, log=log)


async def replay(
    call: Call,
    services: Services,
    execution_id: str,
    format: Format,
    start_index: int | None,
    *,
    to_chat: bool = False,
) -> Response:
    """Stream the run's frames from the client's position, then live to its end.

    to_chat: or until the run waits for its client, whose chat sends a result only then.

    An EventSource that has the last frame gets 204, so that it stops reconnecting. Raises
    InvalidCursor.
    """
    standing, frames = (
        Standing(call.headers.get(_LAST_EVENT_ID)),
        _numbered(call, execution_id, format),
    )
    over, seen, awaited = False, START, Awaited()
    async with aclosing(_so_far(call, services, execution_id)) as batches:
        async for entries in batches:
            standing.add(frames.add(entries))
            over = isinstance(entries[-1].event, TERMINAL_EVENTS)
            seen = entries[-1].cursor
            for entry in entries:
                awaited.add(entry.event)
    start = _start(call.headers, start_index, standing)
    if over and start == standing.count and _LAST_EVENT_ID in call.headers:
        return Response(status_code=204)
    end = End(seen, persons=False) if to_chat else None
    tail = {TAIL_INDEX: str(standing.count - 1)}
    answered = frozenset(awaited.answered)
    return _stream(
        call, services, execution_id, format, start, end=end, headers=tail, answered=answered
    )


async def behind_decision(
    call: Call, services: Services, execution_id: str, format: Format, decided: Sequence[str]
) -> EventStream:
    """Stream the run's frames after the suspension that these tool calls' decisions have ended.

    `decided`: calls that a person has decided, or the client has run.
    """
    frames, place = _numbered(call, execution_id, format), 0
    seen, start, awaited = START, None, Awaited()
    async with aclosing(_so_far(call, services, execution_id)) as batches:
        async for entry in (entry async for entries in batches for entry in entries):
            before, seen = frames.count, entry.cursor
            frames.add((entry,))
            awaited.add(entry.event)
            match entry.event:
                case ExecutionSuspended():
                    place = frames.count
                case (
                    ApprovalResolved(tool_call_id=call_id)
                    | ClientCallAnswered(tool_call_id=call_id)
                ) if call_id in decided and start is None:
                    start = place or before
                case _:
                    pass
    start = frames.count if start is None else start
    end = End(seen, persons=format is not Format.OPENAI)
    answered = frozenset(awaited.answered)
    return _stream(call, services, execution_id, format, start, end=end, answered=answered)


@dataclass(frozen=True, slots=True)
class End:
    """When the response to a chat ends before the run does: where the run stands still."""

    seen: Cursor = START
    """Not before this position, up to which the log was known when the response began."""
    persons: bool = True
    """Whether also where it waits for persons alone."""


def _stream(
    call: Call,
    services: Services,
    execution_id: str,
    format: Format,
    start: int = 0,
    *,
    end: End | None = None,
    log: Log | None = None,
    headers: dict[str, str] | None = None,
    answered: frozenset[str] = frozenset(),
) -> EventStream:
    """Stream the frames from an index on; `log` is the run's from its start, if it is at hand.

    `answered`: calls of the client that it is not to run again.
    """
    principal, native = call.principal, call.native

    def frames(log: Log) -> AsyncGenerator[bytes, None]:
        shown = log if end is None else _until_waiting(log, end)
        return _frames(NumberedFrames(fold(format, execution_id, native, answered)), shown, start)

    def again() -> AsyncGenerator[bytes, None]:
        return frames(services.executions.follow(principal, execution_id))

    named = {"x-workflow-run-id": execution_id, "x-execution-id": execution_id}
    extra = named | dict(EXTRA_HEADERS.get(format, {})) | (headers or {})
    first = again() if log is None else frames(log)
    return EventStream(first, call.streams, extra, again)


def _numbered(call: Call, execution_id: str, format: Format) -> NumberedFrames:
    return NumberedFrames(fold(format, execution_id, call.native))


def _so_far(call: Call, services: Services, execution_id: str) -> Log:
    return services.executions.replay(call.principal, execution_id)


async def _frames(numbered: NumberedFrames, log: Log, start: int) -> AsyncGenerator[bytes, None]:
    async with aclosing(log) as batches:
        async for entries in batches:
            before = numbered.count
            frames = numbered.add(entries)
            yield b"".join(frames[max(0, start - before) :])


async def _until_waiting(log: Log, end: End) -> Log:
    """Yield the log until the run waits for its client, or has waited for a person for a while."""
    awaited, waiting = Awaited(), False
    async with aclosing(log) as batches:
        while True:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS if waiting else None):
                    entries = await anext(batches, None)
            except TimeoutError:
                return
            if entries is None:
                return
            for entry in entries:
                awaited.add(entry.event)
            yield entries
            if entries and entries[-1].cursor >= end.seen:
                if awaited.client and not awaited.person:
                    return
                waiting = awaited.client or (awaited.person and end.persons)


# --- a client's position


class Standing:
    """A client's position among the frames of a log, which are counted one by one."""

    def __init__(self, seen: str | None) -> None:
        """`seen`: the id of the newest frame that the client has."""
        self.count = 0
        self._seen = seen.strip() if seen else None
        self._place = _cursor(self._seen or "")
        self._behind: int | None = None
        self._before = 0
        """Frames up to the cursor, in a format whose ids are cursors."""
        self._by_place = True

    def add(self, frames: Iterable[bytes]) -> None:
        """Count the next frames."""
        for frame in frames:
            self.count += 1
            if self._seen is not None and self._behind is None:
                self._compare(frame[4 : frame.index(b"\n")].decode())

    def _compare(self, id: str) -> None:
        if id == self._seen:
            self._behind = self.count
        elif self._place is not None:
            cursor = _cursor(id)
            self._by_place = self._by_place and cursor is not None
            self._before += cursor is not None and cursor <= self._place

    @property
    def index(self) -> int | None:
        """Index of the first frame that the client does not have; None if it has none.

        If the frame that it names is no longer in the log, by its cursor. Raises InvalidCursor.
        """
        if self._seen is None or self._behind is not None:
            return self._behind
        if self._place is None or not self._by_place or self._before == self.count:
            raise InvalidCursor(param=_LAST_EVENT_ID)
        return self._before


def _cursor(text: str) -> Cursor | None:
    try:
        return Cursor.parse(text)
    except InvalidCursor:
        return None


def _start(headers: Headers, start_index: int | None, standing: Standing) -> int:
    """Return the index to begin with: what a client has seen wins over what it requests.

    Raises InvalidCursor if the run has not reached it.
    """
    if (behind := standing.index) is not None:
        return behind
    header = headers.get(START_INDEX)
    wanted, param = (start_index, "startIndex") if header is None else (header, START_INDEX)
    given = str(wanted or 0).strip()
    if _INDEX.fullmatch(given) is None:
        raise InvalidCursor(f"{START_INDEX} is a whole number.", param=param)
    index = int(given)
    if index > standing.count:
        raise InvalidCursor(f"The stream has {standing.count} frames so far.", param=param)
    return index if index >= 0 else max(0, standing.count + index)
