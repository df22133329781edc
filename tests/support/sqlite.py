"""A SQLite driver on trial: what its writer runs, a writer that is held, all kinds of scripts."""

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, func, select

from outlast.model.error import Conflict
from outlast.model.workspace import Workspace
from outlast.store.driver import PING, Query, Statement, Transaction, TransactionResult
from outlast.store.sqlite import SqliteDriver, connection
from outlast.store.workspaces import put_workspace, workspace_named
from outlast.testing import FakeClock
from tests.support.waiting import BOUND

_clock = FakeClock()
_LENGTH_OF = Statement(select(func.length(bindparam("value"))))
_LENGTH_OF_ZEROS = Statement(select(func.length(func.zeroblob(bindparam("value")))))


@asynccontextmanager
async def driver_on(path: Path, **more: Any) -> AsyncIterator[SqliteDriver]:
    driver = SqliteDriver(path, **more)
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


class StatementTrace:
    """The statements that the writer's connections have run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
        self.statements: list[str] = []
        connect = connection.connect

        def traced(path: Path) -> sqlite3.Connection:
            made = connect(path)
            made.set_trace_callback(self.statements.append)
            for name, limit in limits.items():
                made.setlimit(getattr(sqlite3, f"SQLITE_LIMIT_{name.upper()}"), limit)
            return made

        monkeypatch.setattr("outlast.store.sqlite.writer.connect", traced)

    def count(self, statement: str) -> int:
        return self.statements.count(statement)


class HeldWriter:
    """A writer that is busy with a script until it is let go: what comes meanwhile is one batch."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()

    def script(self) -> Transaction[None]:
        self.reached.set()
        assert self.go.wait(BOUND)
        yield Query(PING, {})
        return TransactionResult(None)


def named(name: str) -> Callable[[], Transaction[Workspace]]:
    """Makes a workspace."""
    return lambda: put_workspace(Workspace(_clock.new_id("ws"), name, 1))


def missing() -> Transaction[Workspace]:
    """Fails before it writes, as a 404 does."""
    return workspace_named("missing")


def too_late() -> Transaction[None]:
    """Fails behind its first write."""
    yield from put_workspace(Workspace(_clock.new_id("ws"), "half done", 1))
    raise Conflict


def bound(value: object) -> Callable[[], Transaction[int]]:
    """Gives the database a value, and answers its length."""

    def script() -> Transaction[int]:
        rows = yield Query(_LENGTH_OF, {"value": value})
        return TransactionResult(rows[0][0])

    return script


def zeros(length: int) -> Callable[[], Transaction[int]]:
    """Lets the database make a value of so many bytes."""

    def script() -> Transaction[int]:
        rows = yield Query(_LENGTH_OF_ZEROS, {"value": length})
        return TransactionResult(rows[0][0])

    return script


def names(path: Path) -> set[str]:
    """The workspaces that are in the database."""
    with closing(sqlite3.connect(path)) as file:
        return {name for (name,) in file.execute("SELECT name FROM workspaces")}


def fill(disk: Path) -> Path:
    """Take all that is left of the disk."""
    file = disk / "ballast"
    with file.open("wb", buffering=0) as ballast:
        try:
            while ballast.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return file
