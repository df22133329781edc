"""Reloads the agents file on SIGHUP or after a change of its folder, without a restart.

The effect is that of a restart: agents, the functions of their tools and loops, scripts. Modules in
the file's folder are imported anew. Running executions keep the version of their agent.

A file changes nothing if it cannot be read, if an agent that can run could no longer run with it
(as when a provider's variable is not set), or, in a server started with `--strict`, if any agent of
it could not run. New agents that could not run cause warnings, as at a start.
"""

import asyncio
import importlib
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Final

import structlog

from outlast.agents.loader import LoadedAgents
from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.readiness import NotReady, not_ready
from outlast.cli.composition import (
    Composed,
    environment_of,
    providers_of,
    put_agents,
    read_agents,
    retire_agents,
)
from outlast.cli.preflight import warn
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured, OutlastError
from outlast.model.workspace import Workspace
from outlast.settings import Settings

logger = structlog.get_logger(__name__)

_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


class Hangups:
    """Catches SIGHUP from now on, so that it does not end the process, and requests a reload."""

    def __init__(self) -> None:
        self._came = asyncio.Event()
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._came.set)

    def request(self) -> None:
        """Request a reload, as a signal does."""
        self._came.set()

    async def watch(self, reload: Callable[[], Awaitable[None]]) -> None:
        """Reload after each signal; signals during a reload cause one more."""
        while True:
            await self._came.wait()
            self._came.clear()
            await reload()


class AgentsFile:
    """The agents file of this process, as last read."""

    def __init__(self, settings: Settings) -> None:
        """Read the file. Raises Misconfigured."""
        self._settings = settings
        self._before = frozenset(sys.modules)
        self.loaded: LoadedAgents = read_agents(settings)
        self._own = self._modules()

    async def reload(
        self,
        composed: Composed,
        workspace: Workspace | None,
        *,
        worker: bool,
        strict: bool = False,
    ) -> None:
        """Read the file again, put it into use, and store its agents in a workspace.

        Logs the result; if the file cannot be read or used, nothing changes.
        """
        file = self._settings.agents
        if not file:
            logger.warning("agents.not_reloaded", reason="There is no agents file.")
            return
        try:
            loaded, problems = await self._read(composed, worker=worker, strict=strict)
            await self._use(loaded, composed, workspace)
            warn(problems)
        except OutlastError as error:
            logger.error("agents.not_reloaded", file=file, reason=error.message)  # noqa: TRY400 - the reason says all
        except asyncio.CancelledError:
            raise
        except BaseException:
            logger.exception("agents.not_reloaded", file=file)
        else:
            self.loaded = loaded
            names = [spec.name for spec in loaded.specs]
            logger.info("agents.reloaded", file=file, agents=names)

    async def _use(
        self, loaded: LoadedAgents, composed: Composed, workspace: Workspace | None
    ) -> None:
        """Put the file's agents into use; if that raises, the previous ones stay in use."""
        composed.use(loaded)
        try:
            if workspace is not None:
                await put_agents(composed.core, workspace, loaded)
                await retire_agents(composed.core, workspace, loaded)
        except BaseException:
            composed.use(self.loaded)
            raise

    async def _read(
        self, composed: Composed, *, worker: bool, strict: bool
    ) -> tuple[LoadedAgents, list[NotReady]]:
        """Return the file and which of its agents could not run. Raises Misconfigured."""
        models = ModelCatalogue(SystemClock(), self._settings.data_dir)

        def check(loaded: LoadedAgents) -> list[NotReady]:
            environ = environment_of(self._settings)
            models.use(providers_of(self._settings, loaded))
            found = list(not_ready(loaded.specs, models, environ)) if worker else []
            refused = found if strict else self._broken(found, composed.models)
            if refused:
                raise Misconfigured("\n".join(["The agents in use stay:", *map(str, refused)]))
            return found

        try:
            return await asyncio.to_thread(self._read_anew, check)
        finally:
            await models.close()

    def _broken(self, found: list[NotReady], models: ModelCatalogue) -> list[NotReady]:
        """Return problems of agents that can run now."""
        affected = {one.agent for one in found}
        specs = [spec for spec in self.loaded.specs if spec.name in affected]
        before = {one.agent for one in not_ready(specs, models, environment_of(self._settings))}
        running = {spec.name for spec in specs} - before
        return [one for one in found if one.agent in running]

    def _read_anew(
        self, check: Callable[[LoadedAgents], list[NotReady]]
    ) -> tuple[LoadedAgents, list[NotReady]]:
        """Read the file with its modules and check it; if that raises, the old modules stay."""
        importlib.invalidate_caches()
        kept = {name: sys.modules.pop(name) for name in self._own if name in sys.modules}
        for module in kept.values():
            _forget_compiled(module)
        try:
            loaded = read_agents(self._settings)
            found = check(loaded)
        except BaseException:
            for name in self._modules():
                del sys.modules[name]
            sys.modules.update(kept)
            raise
        self._own = self._modules()
        return loaded, found

    def _modules(self) -> frozenset[str]:
        """Return the modules that the file imported from its folder and below."""
        folder = _folder(self._settings.agents)
        found = {name: module for name, module in sys.modules.items() if name not in self._before}
        return frozenset(name for name, module in found.items() if _is_below(module, folder))


def _forget_compiled(module: ModuleType) -> None:
    """Delete the compiled file of a module, which knows its source by size and second only."""
    cached = None if module.__spec__ is None else module.__spec__.cached
    if cached is not None:
        with suppress(OSError):
            Path(cached).unlink()


def _folder(agents: str) -> Path:
    file = Path(agents)
    return file.parent.resolve() if file.suffix else Path.cwd()


def _is_below(module: ModuleType, folder: Path) -> bool:
    origin = getattr(module, "__file__", None)
    if origin is None:
        return False
    with suppress(ValueError):
        return not _INSTALLED & set(Path(origin).resolve().relative_to(folder).parts)
    return False
