"""The child of `deadline`: it waits for the server's signal, and ends a server that does not exit.

Run by path with nothing but the standard library. Standard input is a pipe that the server writes
to at each signal, and that ends with the server. Arguments: the server's process id, the seconds it
may take to leave, and `signalled` where the line of its first signal has been read.
"""

import os
import select
import signal
import sys
from time import monotonic  # noqa: TID251 - this runs beside the server, without its clock
from typing import Final

_SECOND_SIGNAL: Final = 1.0
"""Seconds that the server may take after its second signal, which ends it at once."""
_TRACEBACK: Final = 5.0
"""Seconds that SIGABRT may take: its handler writes where every thread is."""


_BEGIN: Final = b"(most recent call first)"
"""In the first line of what faulthandler writes at a signal, in several pieces."""


class Pipe:
    """The signals that the server writes of."""

    def __init__(self, signals: int) -> None:
        self.signals = signals
        self._tail = b""

    def wait(self, seconds: float | None) -> bool:
        """Return whether the server is still there, once it wrote or after `seconds`."""
        ready, _, _ = select.select([0], [], [], seconds)
        if not ready:
            return True
        data = os.read(0, 65536)
        self._tail += data
        self.signals += self._tail.count(_BEGIN)
        rest = self._tail.rpartition(_BEGIN)[2]
        self._tail = rest[-len(_BEGIN) + 1 :]  # the text may come in two pieces
        return bool(data)


def main(server: int, seconds: float, *, signalled: bool) -> None:
    """Return once the server has ended, by itself or by this process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pipe = Pipe(int(signalled))
    if not signalled and not pipe.wait(None):
        return
    deadline, second = monotonic() + seconds, False
    while (left := deadline - monotonic()) > 0:
        if not pipe.wait(left):
            return
        if pipe.signals > 1 and not second:
            deadline, second = min(deadline, monotonic() + _SECOND_SIGNAL), True
    for number in (signal.SIGABRT, signal.SIGKILL):
        if os.getppid() != server:
            return
        os.kill(server, number)
        end = monotonic() + _TRACEBACK
        while (left := end - monotonic()) > 0:
            if not pipe.wait(left):
                return


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), signalled=sys.argv[3:] == ["signalled"])
