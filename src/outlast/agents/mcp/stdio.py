"""MCP over a command's input and output: the process, its lines, and its end.

The command runs in a process group of its own, which is ended with it: input closed, then SIGTERM,
then SIGKILL to the whole group. If this server is killed, its input closes too.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import mcp_types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from outlast.agents.mcp.http import MAX_BYTES
from outlast.agents.mcp.server import Target

_EXIT_SECONDS: Final = 2.0
"""How long the command has to end by itself, then after SIGTERM, then after SIGKILL."""
_CHUNK: Final = 65_536
_GARBAGE: Final = 1000
"""Maximum lines that are no MCP; a few are what a library prints."""
_TAIL_BYTES: Final = 2_048

_Inbox = MemoryObjectSendStream[SessionMessage | Exception]
_Outbox = MemoryObjectReceiveStream[SessionMessage]
Streams = tuple[
    MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]
]
"""Messages from a server, and to it."""


class Command:
    """A running command."""

    def __init__(self, process: asyncio.subprocess.Process, on_end: Callable[[], None]) -> None:
        self._process = process
        self._on_end = on_end
        self.problem: str | None = None
        """Why it was ended before it was to."""
        self.tail = b""
        """The last bytes of its error output."""

    def cause(self) -> str | None:
        """Return why it has ended, with the end of its error output; None if it runs."""
        code = self._process.returncode
        if self.problem is None and code is None:
            return None
        tail = self.tail.decode(errors="replace").strip()
        return (self.problem or f"it has ended with exit code {code}") + (
            f": {tail}" if tail else ""
        )

    async def read(self, inbox: _Inbox) -> None:
        """Pass on each message that it writes, until its output ends."""
        try:
            async with inbox:
                async for line in self._lines():
                    try:
                        message = mcp_types.jsonrpc_message_adapter.validate_json(
                            line, by_name=False
                        )
                    except ValidationError:
                        continue
                    await inbox.send(SessionMessage(message))
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass  # the session has ended first
        finally:
            self._on_end()

    async def _lines(self) -> AsyncIterator[bytes]:
        """Yield lines that may be messages; end early if there is too much that is none."""
        stdout = self._process.stdout
        assert stdout is not None
        pending, garbage = bytearray(), 0
        while chunk := await stdout.read(_CHUNK):
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                pending += line
                if (text := bytes(pending).strip()).startswith(b"{"):
                    yield text
                elif text:
                    garbage += 1
                pending.clear()
            pending += rest
            if len(pending) > MAX_BYTES or garbage > _GARBAGE:
                self.problem = "it writes what is not MCP"
                return

    async def write(self, outbox: _Outbox) -> None:
        """Write each message as a line, until there are no more."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            async with outbox:
                async for one in outbox:
                    text = one.message.model_dump_json(by_alias=True, exclude_unset=True)
                    stdin.write(text.encode() + b"\n")
                    await stdin.drain()
        except (OSError, anyio.ClosedResourceError):
            self._on_end()

    async def keep_tail(self) -> None:
        """Read its error output, of which the end is kept."""
        stderr = self._process.stderr
        assert stderr is not None
        while chunk := await stderr.read(_CHUNK):
            self.tail = (self.tail + chunk)[-_TAIL_BYTES:]

    async def end(self) -> None:
        """End it and everything in its process group."""
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
            if not await self._has_ended():
                self._signal(signal.SIGTERM)
                await self._has_ended()
        finally:
            self._signal(signal.SIGKILL)  # also what a command that has ended leaves behind
        await self._has_ended()
        self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - no other way

    async def _has_ended(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_SECONDS):
                await self._process.wait()
        return self._process.returncode is not None

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


@asynccontextmanager
async def command(
    target: Target, started: Callable[[Command], None], on_end: Callable[[], None]
) -> AsyncIterator[Streams]:
    """Run the command of a target, and end it. Raises OSError if it cannot be started.

    `on_end` is called when it can take no more, before the session learns of it.
    """
    process = await asyncio.create_subprocess_exec(
        *target.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=target.env,
        cwd=target.cwd,
        start_new_session=True,
    )
    running = Command(process, on_end)
    started(running)
    inbox, messages = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outbox, written = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with inbox, messages, outbox, written, anyio.create_task_group() as tasks:
            tasks.start_soon(running.read, inbox, name=f"mcp {target.name} output")
            tasks.start_soon(running.write, written, name=f"mcp {target.name} input")
            tasks.start_soon(running.keep_tail, name=f"mcp {target.name} errors")
            try:
                yield messages, outbox
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await running.end()
