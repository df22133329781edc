"""The database's files: created for their owner only, and watched while they are open.

SQLite keeps writing into a file that was deleted or replaced: commits confirmed then are lost.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import structlog

from outlast.model.error import Misconfigured, Overloaded
from outlast.store.sqlite.refusal import is_damage, is_unknown

Identity: TypeAlias = tuple[int, int]
"""Device and inode."""
_MAGIC: Final = b"SQLite format 3\0"
_SMALLEST: Final = 512
"""Bytes of the smallest page: a database that has been opened is not shorter."""
_REPLACED: Final = "The database file was deleted or replaced under the server: restart it."

logger = structlog.get_logger(__name__)


def identity(status: os.stat_result) -> Identity:
    """Return what identifies a file, independent of its name."""
    return status.st_dev, status.st_ino


class Files:
    """The database, its WAL and the index of the WAL."""

    def __init__(self, named: Path) -> None:
        self._named = named
        """The path in the settings: a symbolic link may be changed to another file."""
        self.path = named
        """The resolved path; SQLite derives the WAL's name from it."""
        self._watched: tuple[tuple[str, Identity], ...] = ()
        self._folder = ""
        self._stamp: tuple[int, int, int] | None = None
        """The folder's status before the last check that passed."""
        self._handle: int | None = None
        self.damage: str | None = None
        """What is damaged in the content; if set, nothing is written any more."""

    def make(self) -> None:
        """Create the folder and an empty database if missing. Raises Misconfigured.

        SQLite gives its WAL the same mode as the database.
        """
        try:
            self._named.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path = self._named.resolve()
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            why = getattr(error, "strerror", None) or error
            raise Misconfigured(f"The database {self._named} cannot be opened: {why}.") from error

    def watch(self, handle: int | None) -> None:
        """Remember the files' identities, once SQLite has them open; `handle`: the database's."""
        self._handle = handle
        self._folder = str(self.path.parent)
        names = dict.fromkeys(
            [str(self._named), str(self.path), f"{self.path}-wal", f"{self.path}-shm"]
        )
        watched = []
        for name in names:
            with suppress(FileNotFoundError):  # no WAL where the file system cannot share memory
                watched.append((name, identity(Path(name).stat())))
        self._watched = tuple(watched)

    def damaged(self, why: Exception) -> None:
        """Note that the content is damaged: from now on nothing is written."""
        if self.damage is None:
            logger.error("database.damaged", error=str(why))
            self.damage = str(why)

    def explained(self, error: Exception) -> Exception:
        """Return the cause of an error: tables are missing if the file was overwritten."""
        if is_damage(error):
            self.damaged(error)
        elif is_unknown(error):
            try:
                self.check_content()
            except Overloaded as cause:
                return cause
        return error

    def check(self) -> None:
        """Raise Overloaded if the files are not those that were opened, or are damaged."""
        if self.damage is not None:
            raise Overloaded(f"The database is damaged: {self.damage}. See outlast doctor.")
        for name, known in self._watched:
            try:
                status = os.stat(name)  # noqa: PTH116 - with a Path it takes twice as long
            except FileNotFoundError as error:
                raise Overloaded(_REPLACED) from error
            except OSError as error:
                raise Overloaded(f"The database cannot be read: {error.strerror}.") from error
            if (status.st_dev, status.st_ino) != known:
                raise Overloaded(_REPLACED)

    def check_folder(self) -> None:
        """Check the files only if the folder has changed; cheap otherwise.

        Deleting, renaming or replacing a file changes the time of its folder.
        """
        try:
            status = os.stat(self._folder)  # noqa: PTH116 - as above
            stamp = status.st_dev, status.st_ino, status.st_mtime_ns
        except OSError:
            stamp = None
        if stamp is None or stamp != self._stamp:
            self.check()
            self._stamp = stamp

    def check_content(self) -> None:
        """Raise Overloaded also if the file does not begin like a database."""
        if self._handle is not None:
            begins = os.pread(self._handle, len(_MAGIC), 0)
            if os.fstat(self._handle).st_size < _SMALLEST or begins != _MAGIC:
                self.damaged(ValueError("the file is not a database"))
        self.check()
