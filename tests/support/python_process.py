"""Python processes that start in a hundredth of the time: forks of one that has imported Outlast.

Each is a process of its own, a child of this one: with an id, streams, signals and an exit code, as
`subprocess.Popen` has them. A test whose subject is the start itself, or what is imported, takes
`subprocess` as it is.
"""

import atexit
import inspect
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.support import fork_client, fork_server
from tests.support.fork_server import CLONE, LENGTH, Start

_FORKS: Final = sys.platform == "linux" and CLONE is not None
_READ_AT_START: Final = (
    *("PYTHON", "COVERAGE_", "LD_", "LC_", "LANG", "TZ", "SSL_", "MALLOC_", "TERMINAL_"),
    *("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "_TYPER_"),
)
"""Beginnings of variables that Python or a library reads when it starts or is imported."""


class PythonProcess(subprocess.Popen[Any]):
    """`Popen` of `[sys.executable, "-c" or "-m", …]`."""

    def _execute_child(self, *given: Any) -> None:
        """Fork the process where Popen would start it; it does all the rest, here as elsewhere."""
        start = super()._execute_child  # type: ignore[misc]
        named = inspect.signature(start).bind(*given).arguments
        wanted = _start_of(named)
        if wanted is None:
            start(*given)
            return
        pipes = [named[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        streams = [number if pipe == -1 else pipe for number, pipe in enumerate(pipes)]
        self.pid = _fork_server().fork(wanted, streams)
        self._child_created = True
        ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(named[end] for end in ends))  # type: ignore[attr-defined]


class _ForkServer:
    """The process that has imported Outlast."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, other = socket.socketpair()
        self.door = f"outlast-fork-server-{os.getpid()}-{time.monotonic_ns()}"
        with other, socket.socket(socket.AF_UNIX) as door:
            door.bind(f"\0{self.door}")
            door.listen()
            ends = [other.fileno(), door.fileno()]
            self._process = subprocess.Popen(
                [sys.executable, fork_server.__file__, *map(str, ends)],
                pass_fds=ends,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def fork(self, start: Start, streams: list[int]) -> int:
        """Return the id of a new child of this process."""
        data = pickle.dumps(tuple(start))
        with self._lock:
            socket.send_fds(self._control, [LENGTH.pack(len(data))], streams)
            self._control.sendall(data)
            answer = self._control.recv(LENGTH.size, socket.MSG_WAITALL)
        assert answer, "the fork server has ended"
        return int(LENGTH.unpack(answer)[0])

    def close(self) -> None:
        self._control.close()
        self._process.wait()


def as_fork(script: str, folder: Path) -> str:
    """Return a script, made in a folder, that does the same at once: in a fork.

    What it starts with is `fork_client`, for those who can only start a command.
    """
    if not _FORKS:
        return script
    made = folder / f"forked_{Path(script).name}"
    arguments = [_fork_server().door, script]
    made.write_text(
        f"import runpy, sys\nsys.argv[1:1] = {arguments!r}\n"
        f"runpy.run_path({fork_client.__file__!r}, run_name='__main__')\n"
    )
    return str(made)


@cache
def _fork_server() -> _ForkServer:
    made = _ForkServer()
    atexit.register(made.close)
    return made


def _start_of(named: Mapping[str, Any]) -> Start | None:
    """Return how to start it; None where a fork would not be the same."""
    program, option, what, *arguments = [os.fsdecode(part) for part in named["args"]]
    given = os.environ if named["env"] is None else named["env"]
    environment = {os.fsdecode(name): os.fsdecode(value) for name, value in given.items()}
    folder = Path.cwd() if named["cwd"] is None else Path(named["cwd"]).absolute()
    special = ("preexec_fn", "pass_fds", "shell", "start_new_session", "user", "uid", "gid")
    is_plain = (
        _FORKS
        and program == sys.executable
        and option in {"-c", "-m"}
        and folder.is_dir()
        and not any(named.get(one) for one in special)
        and _read_at_start(environment) == _read_at_start(os.environ)
    )
    if not is_plain:
        return None
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return Start(option, what, arguments, str(folder), environment, files, ignored)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a fork would not read anew."""
    return {n: value for n, value in environment.items() if n.startswith(_READ_AT_START)}
