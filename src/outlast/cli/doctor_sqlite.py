"""`outlast doctor` on SQLite: the file's permissions, its integrity, and who has it open."""

import asyncio
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from outlast.model.error import OutlastError, StoreLocked
from outlast.services.findings import Finding, Level
from outlast.settings import Settings
from outlast.store.full_disk import is_full, reason_of
from outlast.store.migrations import sqlite_version
from outlast.store.schema import HEAD
from outlast.store.sqlite import SqliteDriver
from outlast.store.sqlite.examine import damage
from outlast.store.store import Store

_RESTORE = "stop the server and restore a backup of this file"


async def examine_sqlite(settings: Settings) -> AsyncIterator[Finding]:
    """Yield the findings, one check after the other; a broken file ends it."""
    path = settings.database_path
    if not path.exists():
        yield Finding("database", Level.OK, f"{path} is not there yet; the first start creates it")
        return
    for finding in file_modes(path):
        yield finding
    try:
        version = await asyncio.to_thread(sqlite_version, path)
    except Exception as error:  # noqa: BLE001 - any error means that it is not a database of Outlast
        remedy = f"free space on the disk of {path.parent}" if is_full(error) else _RESTORE
        yield Finding("database", Level.FAIL, f"{path}: {reason_of(error)}", remedy)
        return
    yield _schema(path, version)
    broken = await asyncio.to_thread(damage, path)
    if broken is not None:
        yield Finding("integrity", Level.FAIL, f"{path} is damaged: {broken}", _RESTORE)
        return
    yield Finding("integrity", Level.OK, "quick_check finds no damage")
    if version == HEAD:
        yield await _opens(settings)


def file_modes(path: Path) -> Iterator[Finding]:
    """Check the modes: a file of an earlier version, or a copy, may be readable by everyone."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o007:
        text = f"every user of this machine can read {path} (mode {mode:04o})"
        yield Finding("database file", Level.WARN, text, f"chmod 600 {path}*")


def _schema(path: Path, version: str | None) -> Finding:
    if version is not None and version > HEAD:
        text = f"{path} has schema {version}, this version knows {HEAD}"
        remedy = "install the newer Outlast that wrote it"
        return Finding("database", Level.FAIL, text, remedy)
    if version != HEAD:
        text = f"{path} has schema {version or 'none'}, this version writes {HEAD}"
        return Finding("database", Level.WARN, text, "outlast migrate")
    return Finding("database", Level.OK, f"{path} has the newest schema ({HEAD})")


async def _opens(settings: Settings) -> Finding:
    store = Store.over(SqliteDriver(settings.database_path))
    try:
        await store.open()
    except StoreLocked as error:
        return Finding("lock", Level.OK, f"a server runs: {error.message.partition('. ')[0]}")
    except OutlastError as error:
        return Finding("lock", Level.FAIL, error.message, "outlast migrate")
    try:
        await store.ready()
    except OutlastError as error:
        return Finding("lock", Level.FAIL, error.message, "restore a backup of the database")
    finally:
        await store.close()
    return Finding("lock", Level.OK, "no process has the database; it opens and answers")
