"""The lock of the single process that runs executions on a file, whatever path it uses.

Two locks are held. The one on the lock file beside the database (`flock`) is what earlier versions
take. The other is on the database itself, so that neither a symbolic link, nor a hard link, nor a
removed lock file lets a second process in: a lock of the open file description (`fcntl`,
F_OFD_SETLK), which SQLite's own locks neither conflict with nor release. It covers as many bytes as
the holder's process id, so that a refused process can name the holder. Only Linux has it.
"""

import errno
import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from outlast.model.error import Misconfigured, StoreLocked
from outlast.store.sqlite.files import Identity, identity

_OFD_SETLK: Final[int | None] = getattr(fcntl, "F_OFD_SETLK", None)
_OFD_GETLK: Final[int | None] = getattr(fcntl, "F_OFD_GETLK", None)
_FIRST: Final = 0x4000_0400
"""First byte after those that SQLite locks: 0x40000000 to 0x400001FF (sqlite3's os.h)."""
_FLOCK: Final = struct.Struct("hhqqi0q")
"""`struct flock` on Linux: type, whence, start, length, pid; pid is 0 for this kind of lock."""
_TRIES: Final = 5

_held: dict[Identity, int] = {}
"""Files locked by this process: opening one only to find it locked would, when it is closed,
release SQLite's locks on it (`man 2 fcntl`)."""


class FileLock:
    """Both locks, held until `release`."""

    def __init__(self, path: Path) -> None:
        """Take both locks. Raises StoreLocked, Misconfigured."""
        self._path = path
        self._beside: int | None = None
        self.database: int | None = None
        """File descriptor of the database."""
        self._identity: Identity | None = None
        try:
            self._beside = self._lock_beside()
            self.database = self._lock_database()
        except OSError as error:
            self.release()
            raise Misconfigured(
                f"The database {path} cannot be locked: {error.strerror or error}."
            ) from error
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the locks; SQLite's connections must be closed before."""
        if self._identity is not None:
            _held.pop(self._identity, None)
        for handle in (self.database, self._beside):
            if handle is not None:
                os.close(handle)
        self._identity = self.database = self._beside = None

    def _lock_beside(self) -> int:
        lock = self._path.with_name(self._path.name + ".lock")
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 32).decode(errors="replace").strip()
            os.close(handle)
            raise self._locked(holder) from error
        os.ftruncate(handle, 0)
        with suppress(OSError):  # a full disk: the lock holds without the name of its holder
            os.write(handle, str(os.getpid()).encode())
        return handle

    def _lock_database(self) -> int:
        for _ in range(_TRIES):
            found = identity(self._path.stat())
            if found in _held:
                raise self._locked(str(_held[found]))
            handle = os.open(self._path, os.O_RDWR)
            if _OFD_SETLK is not None and not _take(handle):
                holder = _holder(handle)
                os.close(handle)
                raise self._locked(holder)
            if identity(os.fstat(handle)) == identity(self._path.stat()):
                self._identity = found
                _held[found] = os.getpid()
                return handle
            os.close(handle)  # replaced meanwhile
        raise self._locked("")

    def _locked(self, holder: str) -> StoreLocked:
        return StoreLocked(
            f"{self._path} is in use by process {holder or 'unknown'}. SQLite takes one server per "
            "file: stop that process, choose another OUTLAST_DATA_DIR, or use Postgres."
        )


def _take(handle: int) -> bool:
    assert _OFD_SETLK is not None
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _FIRST, os.getpid(), 0)
    try:
        fcntl.fcntl(handle, _OFD_SETLK, wanted)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if error.errno != errno.EINVAL:  # a kernel without such locks
            raise
    return True


def _holder(handle: int) -> str:
    """Return the process id of the holder; empty if it has just released the lock."""
    assert _OFD_GETLK is not None
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _FIRST, 1, 0)
    kind, _, _, length, _ = _FLOCK.unpack(fcntl.fcntl(handle, _OFD_GETLK, wanted))
    return "" if kind == fcntl.F_UNLCK else str(length)
