"""Server-sent events of a run: from its first commit, from an index, or behind a decision."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, TypeAlias

from starlette.datastructures import Headers
from starlette.responses import Response

from outlast.http.request import Call
from outlast.http.sse import EventStream
from outlast.model.error import InvalidCursor
from outlast.model.event import (
    START,
    TERMINAL_EVENTS,
    ApprovalResolved,
    Cursor,
    Entry,
    ExecutionSuspended,
)
from outlast.rooms.runs.formats import EXTRA_HEADERS, Format, fold
from outlast.rooms.runs.frames import Reel
from outlast.services.all import Services

Log: TypeAlias = AsyncGenerator[list[Entry], None]

START_INDEX: Final = "x-stream-start-index"
TAIL_INDEX: Final = "x-workflow-stream-tail-index"
_LAST_EVENT_ID: Final = "Last-Event-ID"
PATIENCE_SECONDS: Final = 1.0
"""How long the answer to a chat waits for a decision that a program may make at once."""


def live(call: Call, execution_id: str, format: Format, log: Log, *, to_chat: bool) -> EventStream:
    """A new run from its first commit on.

    to_chat: the AI SDK's chat takes the end of an answer for its turn to speak, and sends a
    person's decision only then; so the answer ends where the run waits for one.
    """
    reel = _reel(call, execution_id, format)
    heard = _until_asked(log, PATIENCE_SECONDS) if to_chat else log
    return _stream(call, execution_id, format, _frames(reel, heard))


async def replay(
    call: Call, execution_id: str, format: Format, start_index: int | None
) -> Response:
    """The run's frames from where the client stands, then live to its end.

    An EventSource that has the last frame is told to stay away: 204. Raises InvalidCursor.
    """
    log = await _so_far(call, execution_id)
    reel = _reel(call, execution_id, format)
    frames = reel.add(log)
    start = _start(call.headers, start_index, frames)
    over = bool(log) and isinstance(log[-1].event, TERMINAL_EVENTS)
    if over and start == len(frames) and _LAST_EVENT_ID in call.headers:
        return Response(status_code=204)
    tail = {TAIL_INDEX: str(len(frames) - 1)}
    return _from(call, execution_id, format, reel, log, frames[start:], tail)


async def behind_decision(
    call: Call, execution_id: str, format: Format, decided: Sequence[str]
) -> EventStream:
    """The run's frames behind the suspension that these tool calls' decisions have ended."""
    log = await _so_far(call, execution_id)
    place = _suspension(log, decided)
    reel = _reel(call, execution_id, format)
    reel.add(log[:place])
    return _from(call, execution_id, format, reel, log, reel.add(log[place:]), to_chat=True)


def _from(
    call: Call,
    execution_id: str,
    format: Format,
    reel: Reel,
    log: Sequence[Entry],
    frames: Sequence[bytes],
    headers: dict[str, str] | None = None,
    *,
    to_chat: bool = False,
) -> EventStream:
    services: Services = call.services
    news = services.executions.follow(
        call.principal, execution_id, log[-1].cursor if log else START
    )
    if to_chat:
        news = _until_asked(news, PATIENCE_SECONDS, asked=_asks(log))
    return _stream(call, execution_id, format, _frames(reel, news, b"".join(frames)), headers)


def _stream(
    call: Call,
    execution_id: str,
    format: Format,
    frames: AsyncGenerator[bytes, None],
    headers: dict[str, str] | None = None,
) -> EventStream:
    named = {"x-workflow-run-id": execution_id, "x-execution-id": execution_id}
    extra = named | dict(EXTRA_HEADERS.get(format, {})) | (headers or {})
    return EventStream(frames, call.app.state.streams, extra)


def _reel(call: Call, execution_id: str, format: Format) -> Reel:
    return Reel(fold(format, execution_id, call.app.state.native))


async def _so_far(call: Call, execution_id: str) -> list[Entry]:
    services: Services = call.services
    return await services.executions.log(call.principal, execution_id)


async def _frames(reel: Reel, log: Log, first: bytes = b"") -> AsyncGenerator[bytes, None]:
    async with aclosing(log) as batches:
        yield first
        async for entries in batches:
            yield b"".join(reel.add(entries))


async def _until_asked(log: Log, patience: float, *, asked: bool = False) -> Log:
    """The log up to where it waits for a person for so many seconds."""
    async with aclosing(log) as batches:
        while True:
            try:
                async with asyncio.timeout(patience if asked else None):
                    entries = await anext(batches, None)
            except TimeoutError:
                return
            if entries is None:
                return
            asked = _asks(entries) if entries else asked
            yield entries


def _asks(entries: Sequence[Entry]) -> bool:
    return bool(entries) and isinstance(entries[-1].event, ExecutionSuspended)


def _suspension(log: Sequence[Entry], decided: Sequence[str]) -> int:
    """Where the log goes on behind the suspension before the first of these decisions."""
    place = 0
    for index, entry in enumerate(log):
        match entry.event:
            case ExecutionSuspended():
                place = index + 1
            case ApprovalResolved(tool_call_id=call_id) if call_id in decided:
                return place or index
            case _:
                pass
    return len(log)


# --- where a client stands


def _start(headers: Headers, start_index: int | None, frames: Sequence[bytes]) -> int:
    """The index to begin with: what a reconnecting client has seen wins over what it asked for.

    Raises InvalidCursor where the run has not come that far.
    """
    if seen := headers.get(_LAST_EVENT_ID):
        return _behind(seen, frames)
    asked = headers.get(START_INDEX)
    wanted, param = (start_index, "startIndex") if asked is None else (asked, START_INDEX)
    try:
        index = int(wanted or 0)
    except ValueError as error:
        raise InvalidCursor(f"{START_INDEX} is a whole number.", param=param) from error
    if index > len(frames):
        raise InvalidCursor(f"The stream has {len(frames)} frames so far.", param=param)
    return index if index >= 0 else max(0, len(frames) + index)


def _behind(seen: str, frames: Sequence[bytes]) -> int:
    """The index behind the frame of this id."""
    line = b"id: %b" % seen.strip().encode()
    for index, frame in enumerate(frames):
        if frame.split(b"\n", 1)[0] == line:
            return index + 1
    return _behind_cursor(seen, frames)


def _behind_cursor(seen: str, frames: Sequence[bytes]) -> int:
    """The index of the first frame behind a place of the log that made no frame, or is gone."""
    try:
        place = Cursor.parse(seen)
        ids = [Cursor.parse(frame[4 : frame.index(b"\n")].decode()) for frame in frames]
    except InvalidCursor as error:
        raise InvalidCursor(param=_LAST_EVENT_ID) from error
    index = sum(cursor <= place for cursor in ids)
    if index == len(ids):
        raise InvalidCursor(param=_LAST_EVENT_ID)
    return index
