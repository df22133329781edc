"""A script: has a fork server run another script in its place: `… DOOR SCRIPT ARGUMENT…`.

It imports little, so it starts at once. Both end together: the connection is open while both run.
"""

import os
import pickle
import resource
import socket
import struct
import sys
from typing import Final

_LENGTH: Final = struct.Struct("!I")
_STREAMS: Final = (0, 1, 2)
_CODE: Final = (
    "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def main() -> None:
    """Return once the other script has ended."""
    door, *arguments = sys.argv[1:]
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    start = ("-c", _CODE, arguments, os.getcwd(), dict(os.environ), files, False)  # noqa: PTH109
    data = pickle.dumps(start)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(f"\0{door}")
        socket.send_fds(caller, [_LENGTH.pack(len(data))], _STREAMS)
        caller.sendall(data)
        for stream in _STREAMS:
            os.close(stream)
        caller.recv(1)


if __name__ == "__main__":
    main()
