"""Copies of a database, made while a server writes it, and their way back.

A read transaction holds what is copied at one moment: in WAL mode, commits of other connections
meanwhile neither wait nor begin the copy anew. https://sqlite.org/backup.html
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from outlast.model.error import Misconfigured
from outlast.store.full_disk import reason_of
from outlast.store.migrations import refuse_newer, sqlite_oldest, sqlite_version
from outlast.store.schema import HEAD
from outlast.store.sqlite.examine import damage
from outlast.store.sqlite.files import Files
from outlast.store.sqlite.lock import FileLock

Progress = Callable[[int, int], None]
"""Pages that are copied, of how many."""
_PAGES: Final = 2_000
"""Pages between two reports of progress."""


def back_up(path: Path, to: Path, progress: Progress) -> int:
    """Copy the database as it is now to a new file; return its bytes.

    The copy is checked and on disk before it has its name. Raises Misconfigured if there is a file
    of this name, or the copy cannot be made.
    """
    if to.exists():
        raise Misconfigured(f"There is a file {to} already: name another one.")
    with _scratch(to) as scratch:
        try:
            _copy(path, scratch, progress)
        except sqlite3.Error as error:
            why = reason_of(error, "its disk or that of the copy")
            raise Misconfigured(f"The database {path} cannot be copied: {why}.") from error
        _require_sound(scratch, "The copy")
        _keep(scratch, to)
        return to.stat().st_size


def restore(backup: Path, path: Path, old: Path | None) -> bool:
    """Put a copy of a backup in the place of the database; return whether there was one.

    That one is kept as `old`, with its WAL; None: there must be none. The backup is left as it is,
    and nothing is changed unless it is sound and of a version that this one can use. Raises
    Misconfigured, and StoreLocked if a server runs.
    """
    if not backup.is_file():
        raise Misconfigured(f"There is no file {backup}. One is made by: outlast backup FILE")
    with _place(path) as (place, there_was_one), _scratch(place) as scratch:
        if there_was_one and old is None:
            raise Misconfigured(f"There is a database at {path}: add --replace to keep it aside.")
        try:
            shutil.copyfile(backup, scratch)
        except OSError as error:
            raise Misconfigured(f"{backup} cannot be copied: {error.strerror}.") from error
        _require_ours(scratch, backup)
        if there_was_one and old is not None:
            _set_aside(place, old)
        _keep(scratch, place)
        return there_was_one


def _copy(path: Path, to: Path, progress: Progress) -> None:
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as source,
        closing(sqlite3.connect(to, isolation_level=None)) as target,
    ):
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        source.backup(
            target,
            pages=_PAGES,
            progress=lambda _status, left, whole: progress(whole - left, whole),
            sleep=0,
        )


def _require_sound(file: Path, what: str) -> None:
    if (found := damage(file)) is not None:
        raise Misconfigured(f"{what} is damaged: {found}.")


def _require_ours(file: Path, backup: Path) -> None:
    """Raise Misconfigured unless a file is a database that this version can use."""
    _require_sound(file, str(backup))
    try:
        version = sqlite_version(file)
        oldest = version and sqlite_oldest(file)
    except sqlite3.Error as error:
        raise Misconfigured(f"{backup} is no database of Outlast: {error}.") from error
    if version is None:
        raise Misconfigured(f"{backup} is no database of Outlast.")
    if version > HEAD:
        refuse_newer(str(backup), version, oldest or version)


@contextmanager
def _scratch(to: Path) -> Iterator[Path]:
    """Yield a new file for its owner only beside another; what is left of it is removed."""
    scratch = to.with_name(f"{to.name}.new")
    try:
        os.close(os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
    except OSError as error:
        raise Misconfigured(f"{scratch} cannot be written: {error.strerror}.") from error
    try:
        yield scratch
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                scratch.with_name(scratch.name + end).unlink()


@contextmanager
def _place(path: Path) -> Iterator[tuple[Path, bool]]:
    """Yield where the database is, its locks held, and whether there is one."""
    files = Files(path)
    files.make()
    place = files.path
    lock = FileLock(place)
    try:
        yield place, place.stat().st_size > 0
    finally:
        lock.release()
        with suppress(FileNotFoundError):
            if not place.stat().st_size:
                place.unlink()


def _set_aside(place: Path, old: Path) -> None:
    """Give the database a second name, and leave nothing of its WAL at the first one.

    A WAL that is left would be applied to the file that comes in its place.
    """
    with suppress(sqlite3.Error), closing(sqlite3.connect(place)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.link(place, old)
    with suppress(FileNotFoundError):
        place.with_name(f"{place.name}-wal").rename(old.with_name(f"{old.name}-wal"))
    with suppress(FileNotFoundError):
        place.with_name(f"{place.name}-shm").unlink()


def _keep(scratch: Path, to: Path) -> None:
    """Rename a file once its content is on disk, and the name too."""
    _flush(scratch, os.O_RDWR)
    scratch.replace(to)
    _flush(to.parent, os.O_RDONLY)


def _flush(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
