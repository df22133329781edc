"""Ends a process that its own event loop cannot end, because something blocks it.

An operator's function that is not async, such as that of an approval, or `time.sleep` in an async
one, blocks everything: the drain never begins. A thread waits from the signal on, and ends the
process if it still runs long after the drain should be over. If no thread can run either, a child
process does this: see `deadline`.
"""

import faulthandler
import os
import sys
import threading
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final

import structlog

from outlast import logs
from outlast.cli.deadline import Deadline

_BEYOND_DRAIN: Final = 15.0
"""Seconds that a shutdown may take after the drain: connections, tasks, threads, the store."""
_LOG_SECONDS: Final = 5
"""How long the log may take to be written."""
EXIT_CODE: Final = 1

logger = structlog.get_logger(__name__)


class Watchdog:
    """Ends this process `seconds` after the first signal, if it has not ended by itself."""

    def __init__(self, drain_seconds: float) -> None:
        self._seconds = drain_seconds + _BEYOND_DRAIN
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._main = threading.main_thread().ident
        self._deadline = Deadline(self._seconds + _LOG_SECONDS)
        self.is_counting = False
        threading.Thread(target=self._watch, name="outlast-watchdog", daemon=True).start()

    def watch(self, signals: Iterable[int]) -> None:
        """Catch signals even if no Python can run; call it once the handlers are set."""
        self._deadline.watch(signals)

    def signalled(self, number: int) -> None:
        """Start the timer; the second signal ends the process at once. For a signal's handler."""
        if self.is_counting:
            os._exit(128 + number)
        self.is_counting = True
        self._signals.put(number)  # which may be interrupted by itself, as no lock may

    def _watch(self) -> None:
        self._signals.get()
        try:
            self._signals.get(timeout=self._seconds)
        except Empty:
            self._end()

    def _end(self) -> None:
        faulthandler.dump_traceback_later(_LOG_SECONDS, exit=True)  # should even that be held up
        frame = sys._current_frames().get(self._main or 0)  # noqa: SLF001 - its documented name
        logger.error("process.blocked", seconds=self._seconds, where=_place(frame))
        logs.flush()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(EXIT_CODE)


def _place(frame: FrameType | None) -> str:
    """Return the current line of the frame."""
    if frame is None:
        return ""
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
