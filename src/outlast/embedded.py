"""Outlast inside another application: an ASGI app with a lifespan of its own.

outlast.asgi(…) ──► Embedded ──► served as it is, or mounted under a path of a FastAPI or Starlette
app, which then has to run its `lifespan`: mounted apps get no startup event.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from os import PathLike, fspath
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from outlast import logs
from outlast.agents.define import Agent
from outlast.agents.loader import LoadedAgents, load_listed
from outlast.app import Core
from outlast.cli.composition import compose, put_agents, read_agents, retire_agents
from outlast.cli.preflight import check, check_slow
from outlast.cli.state import first_key, make_folder
from outlast.http.errors import error_object, error_response, problem_of
from outlast.model.error import Overloaded
from outlast.settings import Settings, load
from outlast.web import App, create_app, warm_up

logger = structlog.get_logger(__name__)

_GIVEN = "agents of the application"
"""Used in place of the agents file's name."""
_NOT_STARTED = (
    "Outlast has not been started. Give its lifespan to the application that it is mounted in: "
    "FastAPI(lifespan=server.lifespan)"
)


def asgi(
    agents: str | PathLike[str] | Iterable[Agent] | None = None, **settings: Any
) -> "Embedded":
    """Return the whole server as an ASGI application, to serve alone or to mount in another.

    `agents` is an agents file, a module's name, or Agent objects; None uses the setting `agents`.
    `settings` are those of `outlast serve` by name; the rest comes from the environment and
    `outlast.toml` in the working folder. Reads the agents; opens nothing before its lifespan runs.
    Raises Misconfigured.
    """
    if agents is None or isinstance(agents, (str, PathLike)):
        flags = settings if agents is None else {**settings, "agents": fspath(agents)}
        chosen = load(flags)
        loaded = read_agents(chosen)
    else:
        chosen = replace(load(settings), agents=_GIVEN)
        loaded = load_listed(agents, "outlast.asgi")
    return Embedded(chosen, loaded)


class Embedded:
    """The server as an ASGI application."""

    def __init__(self, settings: Settings, loaded: LoadedAgents) -> None:
        """Compose the server; see `asgi`."""
        self.core: Core = compose(settings, loaded).core
        """Everything below HTTP, open while the lifespan runs."""
        self.app: App = create_app(self.core)
        self._loaded = loaded
        self._started = False
        self.app.router.lifespan_context = self.lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; 503 if the lifespan is not running."""
        if scope["type"] == "http" and not self._started:
            problem = problem_of(Overloaded(_NOT_STARTED))
            await error_response(problem, scope, error_object)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncIterator[None]:
        """Open the database, recover executions, serve until the context ends, then drain.

        The database, the first API key and the secret are in the data folder, as with
        `outlast serve`. Raises StoreLocked, Misconfigured.
        """
        core, settings = self.core, self.core.settings
        if not structlog.is_configured():
            logs.configure(settings.log_level, settings.log_format)
        make_folder(settings)
        check(core, self._loaded, worker=True, strict=False)
        await core.open()
        try:
            key = await first_key(settings, core.services.keys, core.services.workspaces)
            if key.made:
                logger.info("key.made", file=str(settings.key_file))
            await put_agents(core, key.workspace, self._loaded)
            await retire_agents(core, key.workspace, self._loaded)
            await core.start()
            warming = core.metrics.failures.spawn(self._warm_up(), "warm_up")
            self._started = True
            try:
                yield
            finally:
                self._started = False
                warming.cancel()
                await asyncio.wait({warming})
                core.streams.leave()
                self.app.state.streams.end()
                self.app.state.streams.spools.close()
        finally:
            await core.close()

    async def _warm_up(self) -> None:
        await self.core.warm_up(self._loaded.models)
        await warm_up()
        await check_slow(self.core, self._loaded)
