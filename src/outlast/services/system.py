"""What a server knows of itself: database, workers, settings."""

import asyncio
import platform
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias

from outlast.engine.dispatch.port import Engine
from outlast.model.clock import Clock
from outlast.model.error import MissingScope, NotFound, OutlastError, Overloaded
from outlast.model.workspace import Principal, Scope
from outlast.services.findings import Finding, Level
from outlast.services.machine import machine_findings
from outlast.services.workspaces import DEFAULT_WORKSPACE, Workspaces
from outlast.settings import Settings

_POSTGRES: Final = "Postgres"
_SQLITE: Final = "SQLite"
_EXAMINED_SECONDS: Final = 30.0
"""How long an examination may take; MCP servers that do not answer are most of it."""

Examine: TypeAlias = Callable[[], AsyncGenerator[Finding, None]]
"""Yields what `outlast doctor` finds, by a server that runs."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What an examination has found, and when."""

    at: int
    findings: tuple[Finding, ...]


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
    examined: Examined | None = None
    """The newest examination; None: there was none since this process began."""
    can_examine: bool = False


class System:
    """What a server knows of itself."""

    def __init__(
        self, settings: Settings, engine: Engine, workspaces: Workspaces, clock: Clock
    ) -> None:
        self.settings = settings
        self._engine = engine
        self._workspaces = workspaces
        self._clock = clock
        self._examine: Examine | None = None
        self._examined: Examined | None = None
        self._examining = asyncio.Lock()

    def examined_by(self, examine: Examine) -> None:
        """Examine this server so from now on; only whoever has composed it knows how."""
        self._examine = examine

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
            examined=self._examined,
            can_examine=self._examine is not None,
        )

    async def examine(self, principal: Principal) -> None:
        """Examine database, models, tools, MCP servers and port, within 30 seconds.

        Of several callers at once, those who come later get the first one's findings. Raises
        MissingScope for keys that are not the operator's, NotFound if this process cannot.
        """
        if not await self._is_operator(principal):
            raise MissingScope("Only keys of the workspace default may examine the server.")
        if self._examine is None:
            raise NotFound
        came = self._examined
        async with self._examining:
            if self._examined is came:
                found = await _found(self._examine())
                self._examined = Examined(self._clock.now(), tuple(found))

    async def _is_operator(self, principal: Principal) -> bool:
        if Scope.KEYS_MANAGE not in principal.scopes:
            return False
        try:
            own = await self._workspaces.named(DEFAULT_WORKSPACE)
        except NotFound:
            return False
        return own.id == principal.workspace_id


async def _found(findings: AsyncGenerator[Finding, None]) -> list[Finding]:
    """Return the findings up to the bound, or up to an error, which is the last one then."""
    found: list[Finding] = []
    rest = "outlast doctor on the server's machine makes all checks"
    try:
        async with asyncio.timeout(_EXAMINED_SECONDS), aclosing(findings) as checks:
            async for finding in checks:
                found.append(finding)  # noqa: PERF401 - what was found before an error is kept
    except TimeoutError:
        text = f"took more than {_EXAMINED_SECONDS:g} s; the checks after these were not made"
        found.append(Finding("doctor", Level.WARN, text, rest))
    except OutlastError as error:
        found.append(Finding("doctor", Level.FAIL, error.message, rest))
    return found
