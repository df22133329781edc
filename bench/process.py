"""Child processes: started, queried for their port, measured from /proc, ended by their id."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired

from bench.client import HOST, ask_once, get

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 10.0
READY_SECONDS = 60.0
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
"""Modules are compiled once, as on a machine that says nothing of it."""


class DidNotStart(RuntimeError):
    """A child process ended, or wrote nothing in time."""


class Child:
    """A process with a port of its own."""

    def __init__(
        self,
        arguments: list[str],
        log: Path,
        *,
        port: int = 0,
        reads_port: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start it. Where it chooses its port, its first line of output is it: see `listening`."""
        self.port = port
        self.log = log
        self.started = time.perf_counter()
        with log.open("ab") as errors:
            self._process = Popen(
                arguments,
                cwd=ROOT,
                env={**_ENVIRONMENT, **(env or {})},
                stdin=DEVNULL,
                stdout=PIPE if reads_port and not port else errors,
                stderr=errors,
            )

    @classmethod
    def module(cls, name: str, log: Path, *arguments: str) -> "Child":
        """A Python module of this repository."""
        return cls([sys.executable, "-m", name, *arguments], log)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def listening(self) -> None:
        """Wait for the line with its port. Raises DidNotStart."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_SECONDS):
                line = await asyncio.to_thread(self._process.stdout.readline)
            self.port = int(line)
        except (TimeoutError, ValueError) as error:
            raise DidNotStart(self.last_lines()) from error

    async def ready(self, path: str) -> float:
        """Wait until a GET of the path answers 200; seconds since the start. Raises DidNotStart."""
        while time.perf_counter() - self.started < READY_SECONDS:
            if self._process.poll() is not None:
                raise DidNotStart(self.last_lines())
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(5):
                    if (await ask_once(self.port, get(path))).status == 200:
                        return time.perf_counter() - self.started
            await asyncio.sleep(0.005)
        raise DidNotStart(f"not ready after {READY_SECONDS:.0f} s: {self.last_lines()}")

    async def finished(self, bound: float) -> None:
        """Wait until it ends by itself with status 0. Raises DidNotStart, also at the bound."""
        try:
            status = await asyncio.to_thread(self._process.wait, bound)
        except TimeoutExpired as error:
            await self.stop()
            raise DidNotStart(f"still running after {bound:.0f} s") from error
        if status:
            raise DidNotStart(self.last_lines())

    def last_lines(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-600:]

    def cpu_seconds(self) -> float:
        """Processor time so far, of the process and all its children, ended ones included."""
        return cpu_seconds(self.pid)

    def memory(self) -> int:
        """Bytes of memory of the process and its children, shared pages divided (PSS)."""
        return sum(_pss(pid) for pid in _tree(self.pid))

    def kill(self) -> None:
        """`kill -9`, at once."""
        self._process.kill()
        self._process.wait()
        self._close()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL where that does not help within 10 seconds."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(self._process.wait, STOP_SECONDS)
            except TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()


def cpu_seconds(pid: int) -> float:
    """Processor time so far, of a process and all its children, ended ones included."""
    return sum(_ticks(found) for found in _tree(pid)) / TICKS


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def allow_many_files() -> None:
    """Let this process and its children open as many files as the machine allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))


def _ticks(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # proc(5): fields 14 to 17 are utime, stime, cutime, cstime; the name before may hold spaces.
    return sum(int(field) for field in stat.rpartition(")")[2].split()[11:15])


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
