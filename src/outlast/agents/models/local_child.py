"""The parent's side of a local model's child process: start, request, stop."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import orjson

from outlast.model.error import ModelUnavailable

_START_SECONDS: Final = 300.0
"""Bound for loading a model of many gigabytes from a slow disk."""

_STOP_SECONDS: Final = 5.0
"""A cancelled request ends at its next token or prompt batch; after this the child is killed."""

_LINE_BYTES: Final = 16 * 1024 * 1024
_COMPLAINT_CHARACTERS: Final = 300
_WORKER: Final = (str(Path(__file__).with_name("local_worker.py")),)


class Child:
    """One running process of a model. One request at a time; the caller ensures that."""

    def __init__(
        self, process: asyncio.subprocess.Process, complaints: IO[bytes], runtime: str
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._complaints = complaints
        self._runtime = runtime
        self._number = 0
        self._unfinished = False

    @classmethod
    async def start(
        cls, path: Path, worker: Sequence[str] = _WORKER, runtime: str = "llama.cpp"
    ) -> "Child":
        """Start a child and wait until it has loaded the file. Raises ModelUnavailable.

        `worker`: Python's arguments that run it; `runtime`: what the model runs on, for errors.
        """
        complaints = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", *worker, str(path), str(threads())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=complaints,
            limit=_LINE_BYTES,
            start_new_session=True,  # Ctrl-C in the terminal is the server's to treat
        )
        child = cls(process, complaints, runtime)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await child._wait_until_ready()
        except BaseException as error:
            await child.kill()
            if isinstance(error, TimeoutError):
                raise ModelUnavailable("The local model did not load in time.") from error
            raise
        return child

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the child can serve requests."""
        return self._process.returncode is None and not self._stdout.at_eof()

    @property
    def is_busy(self) -> bool:
        """Whether a request is still being answered."""
        return self._unfinished

    async def ask(self, body: Any) -> int:
        """Send a request; return its number. Raises ModelUnavailable if the child is dead."""
        self._number += 1
        self._unfinished = True
        self._write({"id": self._number, "body": body})
        try:
            await self._stdin.drain()
        except ConnectionError as error:
            raise ModelUnavailable(self.why("died")) from error
        return self._number

    async def read(self) -> dict[str, Any]:
        """Return the child's next line. Raises ModelUnavailable if it has died."""
        line = await self._stdout.readline()
        if not line.endswith(b"\n"):
            raise ModelUnavailable(self.why("died"))
        message: dict[str, Any] = orjson.loads(line)
        if "end" in message or "error" in message:
            self._unfinished = False
        return message

    def cancel(self) -> None:
        """Tell the child to stop the running request; `settle` waits for that."""
        self._write({"cancel": self._number})

    async def settle(self) -> None:
        """After a cancel: read the rest of the answer, or kill a child that does not stop."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                while self._unfinished:
                    await self.read()
        except (TimeoutError, ModelUnavailable):
            await self.kill()

    async def kill(self) -> None:
        """End the child and wait until it is gone."""
        if self._process.returncode is None:
            self._process.kill()
        self._stdin.close()
        await self._process.wait()
        while await self._stdout.read(_LINE_BYTES):
            pass
        self._complaints.close()

    def why(self, happened: str) -> str:
        """Return what happened, with the runtime's own message."""
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").splitlines()
        telling = next((line for line in lines if "error" in line), lines[-1] if lines else "")
        said = telling[:_COMPLAINT_CHARACTERS]
        detail = f" {self._runtime} says: {said}" if said else ""
        return f"The local model's process {happened}.{detail}"

    async def _wait_until_ready(self) -> None:
        first = await self.read()
        if "failed" in first:
            with suppress(TimeoutError):  # the reason is whole once the process has ended
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._process.wait()
            raise ModelUnavailable(self.why(f"could not load the file: {first['failed']}"))

    def _write(self, message: dict[str, Any]) -> None:
        if not self._stdin.is_closing():
            self._stdin.write(orjson.dumps(message) + b"\n")


def threads() -> int:
    """Return the usable cores less one, which the server needs; at least one."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, cores - 1)
