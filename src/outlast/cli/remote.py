"""Commands that use a running server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Final

from outlast.cli.address import url_of
from outlast.cli.screen import Screen
from outlast.cli.state import stored_key
from outlast.client import Client, Frame, Unreachable
from outlast.model.error import InvalidCursor, Misconfigured
from outlast.model.event import START, Cursor
from outlast.settings import Settings
from outlast_client.types import Execution

_RESTING: Final = frozenset({"completed", "failed", "cancelled", "suspended", "paused"})
_SHOWN: Final = frozenset({"text_delta", "thinking", "tool_call_start", "tool_call_end"})
_LOOK_SECONDS: Final = 1.0
"""A stream stays open while the execution waits for a person; after this silence it is checked."""


def client_of(settings: Settings, url: str | None = None, *, patience: float = 60.0) -> Client:
    """Return a client of the server of these settings. Raises Misconfigured without a key."""
    key = settings.api_key or stored_key(settings)
    if not key:
        demo = settings.data_dir / "demo"
        raise Misconfigured(
            f"There is no API key: set OUTLAST_API_KEY, or start a server (outlast serve), which "
            f"keeps one in {settings.key_file}."
            + (f" For the server of outlast demo: --data-dir {demo}" if demo.is_dir() else "")
        )
    return Client(url or url_of(settings), key, patience=patience, retries=0)


async def show_stream(client: Client, execution_id: str, screen: Screen) -> Execution:
    """Show an execution until it ends or waits for a person, and return it."""
    await client.get(execution_id)  # fails at once if there is no such execution or server
    shown = START
    async with aclosing(client.follow(execution_id)) as frames:
        while True:
            upcoming = asyncio.create_task(_next(frames), name="next_frame")
            try:
                rested = await _silent(client, execution_id, upcoming)
            finally:
                upcoming.cancel()
                await asyncio.wait({upcoming})
            if rested is not None:
                return rested
            frame = upcoming.result()
            if frame is None:
                return await client.get(execution_id)
            if frame.type == "resumed" and _voids(frame.data["behind"], shown):
                screen.taken_back(frame.data["step"])
            elif frame.type in _SHOWN and (cursor := _cursor(frame.id)):
                shown = cursor
            show_frame(screen, frame)


def _voids(behind: str, shown: Cursor) -> bool:
    """Whether a roll-back to here has voided what was shown last."""
    stands = _cursor(behind)
    return stands is not None and shown > stands


def _cursor(text: str | None) -> Cursor | None:
    try:
        return Cursor.parse(text or "")
    except InvalidCursor:
        return None


async def _next(frames: AsyncIterator[Frame]) -> Frame | None:
    return await anext(frames, None)


async def _silent(
    client: Client, execution_id: str, upcoming: asyncio.Task[Frame | None]
) -> Execution | None:
    """Wait for the next frame; return the execution if it rests and no frame came."""
    while True:
        await asyncio.wait({upcoming}, timeout=_LOOK_SECONDS)
        if upcoming.done():
            return None
        with suppress(Unreachable):  # the stream waits for the server longer than this
            execution = await client.get(execution_id)
            if execution["status"] in _RESTING and not upcoming.done():
                return execution


def show_frame(screen: Screen, frame: Frame) -> None:
    """Show one frame; technical ones are left out."""
    match frame.type:
        case "text_delta":
            screen.text(frame.data["text"])
        case "thinking":
            screen.thinking(frame.data["text"])
        case "tool_call_start":
            screen.tool_started(frame.data["name"], frame.data["parameters"])
        case "tool_call_end":
            data = frame.data
            screen.tool_finished(data["name"], data["result"], is_error=data["isError"])
        case "approval_requested":
            screen.approval_requested(frame.data["name"], frame.data["parameters"])
        case "client_call_requested":
            screen.client_call(frame.data["name"], frame.data["toolCallId"])
        case "retry":
            screen.retried("")
        case _:
            pass
