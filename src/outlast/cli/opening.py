"""How commands reach state: the database beside a running server, and the key of the first start."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from outlast.model.clock import Clock, SystemClock
from outlast.model.error import Misconfigured
from outlast.model.workspace import Workspace
from outlast.services.agents import Agents
from outlast.services.keys import DEFAULT_WORKSPACE, Keys
from outlast.settings import Settings
from outlast.store.migrations import sqlite_version
from outlast.store.port import Store
from outlast.store.schema import HEAD
from outlast.store.sql import SqlStore
from outlast.store.sqlite import SqliteDriver


@dataclass(frozen=True, slots=True)
class Opened:
    """The database, and the services that need nothing else."""

    store: Store
    keys: Keys
    agents: Agents
    clock: Clock


@asynccontextmanager
async def opened(settings: Settings, *, make: bool = True) -> AsyncIterator[Opened]:
    """Open the database beside a server that may be running.

    With `make`, a database that is not there is made and an old one migrated, for which no server
    may run. Raises Misconfigured, StoreLocked.
    """
    path = settings.database_path
    if not make and not path.exists():
        raise Misconfigured(
            f"There is no database at {path} yet. Start a server: outlast serve --agents FILE"
        )
    if not path.exists() or sqlite_version(path) != HEAD:
        await migrate(path)
    clock = SystemClock()
    store = SqlStore(SqliteDriver(path, exclusive=False))
    await store.open()
    try:
        yield Opened(store, Keys(store, clock), Agents(store, clock), clock)
    finally:
        await store.close()


async def migrate(path: Path) -> None:
    """Bring the database to this version's schema, alone. Raises Misconfigured, StoreLocked."""
    store = SqlStore(SqliteDriver(path))
    await store.open()
    await store.close()


@dataclass(frozen=True, slots=True)
class FirstKey:
    """The key that the operator's own commands use."""

    secret: str
    workspace: Workspace
    made: bool = False
    """Whether it was made just now."""


async def first_key(settings: Settings, keys: Keys) -> FirstKey:
    """The default workspace and its key: OUTLAST_API_KEY, else the key file's, made where there is none.

    Raises Misconfigured where the key file cannot be read or written.
    """
    workspace = await keys.workspace(DEFAULT_WORKSPACE)
    secret = settings.api_key or stored_key(settings)
    if secret:
        await keys.ensure(workspace.id, "operator", secret)
        return FirstKey(secret, workspace)
    made = await keys.create(workspace.id, "first")
    _keep(settings.key_file, made.secret)
    return FirstKey(made.secret, workspace, made=True)


def stored_key(settings: Settings) -> str:
    """The key of the first start, empty where there is none. Raises Misconfigured."""
    try:
        return settings.key_file.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"The key file {settings.key_file} cannot be read: {error}") from error


def _keep(file: Path, secret: str) -> None:
    """Write the key file, whole or not at all, readable by its owner alone from its first byte."""
    scratch = file.with_name(f"{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            scratch.unlink()
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as writer:
            writer.write(secret + "\n")
        scratch.replace(file)
    except OSError as error:
        raise Misconfigured(f"The key file {file} cannot be written: {error}") from error
