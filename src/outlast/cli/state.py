"""Access of commands to state: the database, and the key of the first start."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from outlast.databases import driver_of, queue_of
from outlast.model.clock import Clock, SystemClock
from outlast.model.error import Misconfigured, Unauthenticated
from outlast.model.workspace import Principal, Workspace
from outlast.services.agents import Agents
from outlast.services.keys import Keys
from outlast.services.workspaces import DEFAULT_WORKSPACE, Workspaces
from outlast.settings import Settings
from outlast.store.migrations import is_old
from outlast.store.store import Store


@dataclass(frozen=True, slots=True)
class Opened:
    """An open database, and the services that need nothing else."""

    store: Store
    keys: Keys
    workspaces: Workspaces
    agents: Agents
    clock: Clock


@asynccontextmanager
async def opened(settings: Settings, *, make: bool = True) -> AsyncIterator[Opened]:
    """Open the database, also while a server is running.

    With `make`, a missing database is created and an old one migrated, for which no server may be
    running. Raises Misconfigured, StoreLocked.
    """
    path = settings.database_path
    if not make and not settings.on_postgres and not path.exists():
        raise Misconfigured(
            f"There is no database at {path} yet. Start a server: outlast serve --agents FILE"
        )
    make_folder(settings)
    if not settings.on_postgres and is_old(path):
        await migrate(settings)
    clock = SystemClock()
    store = Store.over(driver_of(settings, exclusive=False), settings.plans)
    await store.open()
    try:
        keys = Keys(store.keys, clock)
        workspaces = Workspaces(store.workspaces, clock, settings.plans.default)
        yield Opened(store, keys, workspaces, Agents(store.agents, clock), clock)
    finally:
        await store.close()


def make_folder(settings: Settings) -> None:
    """Create the data folder, for its owner only, if missing; check that it is writable.

    Raises Misconfigured.
    """
    folder, wanted = settings.data_dir, "made"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = "written"
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Misconfigured(
            f"The data folder {folder} cannot be {wanted}: {error.strerror or error}. "
            "Choose another --data-dir."
        ) from error


async def migrate(settings: Settings) -> None:
    """Migrate the database to this version's schema; on Postgres the queue's tables too.

    On SQLite no other process may have the database open.
    Raises Misconfigured, StoreLocked, Overloaded.
    """
    store = Store.over(driver_of(settings))
    await store.open()
    await store.close()
    if settings.on_postgres:
        await queue_of(settings).prepare()


@dataclass(frozen=True, slots=True)
class FirstKey:
    """The key that the operator's commands use."""

    workspace: Workspace
    secret: str
    made: bool = False
    """Whether it was just created."""
    principal: Principal | None = None
    """Its principal; None if it was revoked or has expired."""


async def first_key(settings: Settings, keys: Keys, workspaces: Workspaces) -> FirstKey:
    """Return the default workspace's key: OUTLAST_API_KEY, else the key file's, else a new one.

    A revoked key of a key file stays revoked; a start without a key file counts as the first.
    Raises Misconfigured if the key file cannot be read or written.
    """
    workspace = await workspaces.put(DEFAULT_WORKSPACE)
    secret = settings.api_key or stored_key(settings)
    if not secret:
        secret = (await keys.create(workspace.id, "first")).secret
        _keep(settings.key_file, secret)
        return FirstKey(workspace, secret, made=True, principal=await keys.authenticate(secret))
    if settings.api_key or not await keys.of_workspace(workspace.id):
        await keys.ensure(workspace.id, "operator", secret)
    try:
        principal = await keys.authenticate(secret)
    except Unauthenticated:
        principal = None
    return FirstKey(workspace, secret, principal=principal)


def stored_key(settings: Settings) -> str:
    """Return the key of the first start; empty if there is none. Raises Misconfigured."""
    try:
        return settings.key_file.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"The key file {settings.key_file} cannot be read: {error}") from error


def _keep(file: Path, secret: str) -> None:
    """Write the key file atomically, readable by its owner only from the first byte."""
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


async def workspace_of(settings: Settings, state: Opened) -> str:
    """Return the workspace of the operator's key; without a key the default one."""
    secret = settings.api_key or stored_key(settings)
    if secret:
        with suppress(Unauthenticated):
            return (await state.keys.authenticate(secret)).workspace_id
    return (await state.workspaces.named(DEFAULT_WORKSPACE)).id
