"""Reloads the agents file on SIGHUP, without a restart.

The effect is that of a restart: agents, the functions of their tools and loops, scripts. Modules in
the file's folder are imported anew. A file that cannot be read changes nothing. Running executions
keep the version of their agent.
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
from outlast.cli.composition import Composed, put_agents, read_agents, retire_agents
from outlast.cli.preflight import check
from outlast.model.error import OutlastError
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
        self, composed: Composed, workspace: Workspace | None, *, worker: bool
    ) -> None:
        """Read the file again, put it into use, and store its agents in a workspace.

        Logs the result; if the file cannot be read, nothing changes.
        """
        file = self._settings.agents
        if not file:
            logger.warning("agents.not_reloaded", reason="There is no agents file.")
            return
        try:
            loaded = await asyncio.to_thread(self._read_anew)
            composed.use(loaded)
            check(composed.core, loaded, worker=worker, strict=False)
            if workspace is not None:
                await put_agents(composed.core, workspace, loaded)
                await retire_agents(composed.core, workspace, loaded)
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

    def _read_anew(self) -> LoadedAgents:
        """Read the file with its modules; if that raises, the previous modules stay."""
        importlib.invalidate_caches()
        kept = {name: sys.modules.pop(name) for name in self._own if name in sys.modules}
        try:
            loaded = read_agents(self._settings)
        except BaseException:
            for name in self._modules():
                del sys.modules[name]
            sys.modules.update(kept)
            raise
        self._own = self._modules()
        return loaded

    def _modules(self) -> frozenset[str]:
        """Return the modules that the file imported from its folder and below."""
        folder = _folder(self._settings.agents)
        found = {name: module for name, module in sys.modules.items() if name not in self._before}
        return frozenset(name for name, module in found.items() if _is_below(module, folder))


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
