"""Ends this process after a signal even if no Python code can run in it.

C code that keeps the interpreter's lock, such as a pattern of `re` that backtracks without end,
blocks signal handlers and the watchdog's thread too. So a child process keeps the deadline. At the
signal, C code of faulthandler writes a few lines into the pipe to it, which needs no lock; if this
process is still there at the deadline, the child ends it with SIGABRT, whose handler writes where
every thread is to standard error, and then with SIGKILL.

Process 1 of a container cannot be ended from inside: the container's runtime does it.
"""

import faulthandler
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TextIO

import structlog

_CHILD: Final = Path(__file__).with_name("deadline_child.py")
_SHELL: Final = Path("/bin/sh")
_UNTIL_SIGNAL: Final = 'trap "" INT TERM HUP; read -r line && exec "$@"'
"""Waits for the first line in the pipe and becomes the child; ends where the pipe does.

A shell that waits takes a twentieth of the memory that Python does, for as long as a server runs.
"""

logger = structlog.get_logger(__name__)


class Deadline:
    """The child that ends this process `seconds` after the first signal, if necessary."""

    def __init__(self, seconds: float) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        if not faulthandler.is_enabled() and _has_file(sys.stderr):
            faulthandler.enable()
        try:
            self._start(seconds)
        except OSError as error:
            logger.warning("deadline.without_child", reason=str(error))

    def _start(self, seconds: float) -> None:
        command = [sys.executable, "-I", "-S", str(_CHILD), str(os.getpid()), str(seconds)]
        if _SHELL.exists():
            command = [str(_SHELL), "-c", _UNTIL_SIGNAL, "sh", *command, "signalled"]
        end, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)  # a signal's handler writes to it
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own words, no shell
                command,
                stdin=end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(end)

    def watch(self, signals: Iterable[int]) -> None:
        """Start the deadline at the first of these signals; call it once their handlers are set."""
        if self._child is not None:
            for number in signals:
                faulthandler.register(number, file=self._pipe, all_threads=False, chain=True)


def _has_file(stream: TextIO | None) -> bool:
    """Whether C code can write to it."""
    if stream is None:
        return False
    try:
        return stream.fileno() >= 0
    except (OSError, ValueError):
        return False
