"""What a server knows of itself: database, workers, settings."""

import asyncio
import platform
from dataclasses import dataclass
from typing import Final

from outlast.engine.dispatch.port import Engine
from outlast.model.error import NotFound, Overloaded
from outlast.model.workspace import Principal, Scope
from outlast.services.findings import Finding
from outlast.services.machine import machine_findings
from outlast.services.workspaces import DEFAULT_WORKSPACE, Workspaces
from outlast.settings import Settings

_POSTGRES: Final = "Postgres"
_SQLITE: Final = "SQLite"


@dataclass(frozen=True, slots=True)
class Seen:
    """The server as it is now; without `operator` nothing of it may be shown."""

    operator: bool
    python: str = ""
    database: str = ""
    workers: int | None = None
    """Processes that run executions; None if the database does not answer."""
    running: int = 0
    backlog: int = 0
    taken_over: int = 0
    orphans: int = 0
    accepting: bool = True
    machine: tuple[Finding, ...] = ()


class System:
    """What a server knows of itself."""

    def __init__(self, settings: Settings, engine: Engine, workspaces: Workspaces) -> None:
        self.settings = settings
        self._engine = engine
        self._workspaces = workspaces

    async def seen(self, principal: Principal) -> Seen:
        """Return the server as it is now.

        All of it to keys that manage keys in the workspace `default`, which is the operator's.
        """
        if not await self._is_operator(principal):
            return Seen(operator=False)
        engine = self._engine
        try:
            workers = await engine.workers()
        except Overloaded:
            workers = None
        return Seen(
            operator=True,
            python=platform.python_version(),
            database=_POSTGRES if self.settings.on_postgres else _SQLITE,
            workers=workers,
            running=engine.running,
            backlog=engine.backlog,
            taken_over=engine.taken_over,
            orphans=engine.orphans,
            accepting=engine.accepting,
            machine=tuple(await asyncio.to_thread(machine_findings, self.settings)),
        )

    async def _is_operator(self, principal: Principal) -> bool:
        if Scope.KEYS_MANAGE not in principal.scopes:
            return False
        try:
            own = await self._workspaces.named(DEFAULT_WORKSPACE)
        except NotFound:
            return False
        return own.id == principal.workspace_id
