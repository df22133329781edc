"""Large responses on their way to clients, in unnamed files instead of memory.

A slow client reads a large response for minutes. The unread part is in a file that vanishes when it
is closed; only one piece of it is in memory. If no file can be written a response stays in memory,
and this is logged.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Final

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

LARGE: Final = 256 * 1024
"""Maximum bytes of a response held in memory for one client."""
PIECE: Final = 64 * 1024
"""Bytes written to the connection at once; it buffers as many again."""
_FILE_PIECE: Final = 32 * 1024
_READ_AT_ONCE: Final = 4
"""Objects of unknown size that are read at the same time."""
_RENDERED_AT_ONCE: Final = 2
_JSON: Final = "application/json"

logger = structlog.get_logger(__name__)


class Spools:
    """One server's storage of data that clients have not read yet."""

    def __init__(self, directory: Path | None = None) -> None:
        """`directory` of the files; default, also if it is missing: that of `TMPDIR`.

        A directory in memory (`tmpfs`) saves nothing.
        """
        self.reading = asyncio.Semaphore(_READ_AT_ONCE)
        """Held while a response of unknown size is read."""
        self.rendering = asyncio.Semaphore(_RENDERED_AT_ONCE)
        """Held while a large response is in memory."""
        self._directory = directory
        self._threads = _threads()

    def open(self) -> "Spool":
        """Return an empty spool. Raises OSError if no file can be made."""
        directory = self._directory if self._directory and self._directory.is_dir() else None
        return Spool(tempfile.TemporaryFile(dir=directory), self._threads)

    def close(self) -> None:
        """End the threads, which would keep the process; a later spool gets new ones."""
        threads, self._threads = self._threads, _threads()
        threads.shutdown(wait=False)

    async def keep(self, data: bytes) -> "Spool":
        """Return a spool with the data. Raises OSError."""
        spool = self.open()
        try:
            await spool.write(data)
        except BaseException:
            spool.close()
            raise
        return spool


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_RENDERED_AT_ONCE, "outlast-spool")  # started at the first use


class Spool:
    """Bytes in a file, written once and then read once."""

    def __init__(self, file: IO[bytes], threads: ThreadPoolExecutor) -> None:
        self._file = file
        self._threads = threads
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Append. Raises OSError."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._append, data)
        self.size += len(data)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield all of it from its start, piece by piece. Raises OSError."""
        loop = asyncio.get_running_loop()
        for start in range(0, self.size, _FILE_PIECE):
            yield await loop.run_in_executor(self._threads, self._read, start)

    def _append(self, data: bytes) -> int:
        return self._file.write(data)

    def _read(self, start: int) -> bytes:
        self._file.seek(start)
        return self._file.read(_FILE_PIECE)

    def close(self) -> None:
        """Free the space; waits for a running write."""
        self._file.close()


class LargeResponse(Response):
    """A response kept in a file until its client has read it."""

    _spool: Spool | None = None
    _was_tried = False

    @classmethod
    def of(cls, spool: Spool) -> "LargeResponse":
        """Return the response whose body is in this spool."""
        response = cls(b"", 200, {"content-length": str(spool.size)}, _JSON)
        response._spool, response._was_tried = spool, True
        return response

    async def keep(self, spools: Spools) -> None:
        """Move the body to a file; if that fails, it stays in memory."""
        self._was_tried = True
        try:
            self._spool = await spools.keep(bytes(self.body))
        except OSError as error:
            logger.warning("answer.in_memory", reason=str(error))
        else:
            self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._was_tried:
            await self.keep(scope["app"].state.streams.spools)
        if self._spool is None:
            await super().__call__(scope, receive, send)
            return
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            async for piece in self._spool.pieces():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.drop()

    def drop(self) -> None:
        """Free the space of the file."""
        if self._spool is not None:
            self._spool.close()


async def written_response(spools: Spools, write: Callable[["Spool"], Awaitable[None]]) -> Response:
    """Return the JSON that `write` puts into a spool, for what is too large to be in memory.

    Raises OSError if no file can be written.
    """
    async with spools.rendering:
        spool = spools.open()
        try:
            await write(spool)
        except BaseException:
            spool.close()
            raise
        return LargeResponse.of(spool)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a value as a JSON response."""
    body = orjson.dumps(value)
    kind = Response if len(body) <= LARGE else LargeResponse
    return kind(body, status, headers, _JSON)


async def whole_response(
    spools: Spools, read: Callable[[], Awaitable[Any]], *, large: bool = False
) -> Response:
    """Return the result of `read` as JSON, of any size; few large ones are in memory at once.

    A result that turns out to be large is dropped and read again in its turn; `large`: it surely
    is, or should not be read twice.
    """
    if not large:
        async with spools.reading:
            response = json_response(await read())
            if not isinstance(response, LargeResponse):
                return response
            del response
    async with spools.rendering:
        response = json_response(await read())
        if isinstance(response, LargeResponse):
            await response.keep(spools)
        return response
