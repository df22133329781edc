"""The child of `deadline`: it waits for the server's signal, and ends a server that does not exit.

Run by path with nothing but the standard library. Standard input is a pipe that the server writes
to at each signal, and that ends with the server. Arguments: the server's process id, and the
seconds it may take to leave.
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


def main(server: int, seconds: float) -> None:
    """Return once the server has ended, by itself or by this process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not _signalled(None):
        return
    deadline = monotonic() + seconds
    while (left := deadline - monotonic()) > 0:
        if (signalled := _signalled(left)) is False:
            return
        if signalled:
            deadline = min(deadline, monotonic() + _SECOND_SIGNAL)
    for number in (signal.SIGABRT, signal.SIGKILL):
        if os.getppid() != server:
            return
        os.kill(server, number)
        if _signalled(_TRACEBACK) is False:
            return


def _signalled(seconds: float | None) -> bool | None:
    """Wait for the server's next signal; return False if it has ended, None after `seconds`."""
    ready, _, _ = select.select([0], [], [], seconds)
    return bool(os.read(0, 65536)) if ready else None


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
