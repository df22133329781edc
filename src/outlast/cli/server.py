"""`outlast serve` and `outlast worker`: open, listen, run, and shut down in order.

SIGTERM or SIGINT: `/readyz` turns 503 and no segment begins; running ones end at their next commit;
open streams end, so that clients connect again; the process ends with 0. A second signal ends it at
once. SIGHUP: the agents file is read again.
"""

from outlast import logs  # isort: skip - before whatever imports structlog, see there

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from types import FrameType
from typing import Final, TypeAlias, cast

import structlog
import uvicorn

from outlast.agents.loader import LoadedAgents
from outlast.app import Core
from outlast.cli.address import kept_address
from outlast.cli.composition import NO_AGENTS, Composed, compose, put_agents, retire_agents
from outlast.cli.file_watch import watching
from outlast.cli.files import connections_of, files, raise_limit
from outlast.cli.preflight import check, check_slow
from outlast.cli.process_end import run_to_end
from outlast.cli.reloads import AgentsFile, Hangups
from outlast.cli.state import FirstKey, first_key, make_folder
from outlast.cli.watchdog import Watchdog
from outlast.duty import Duty
from outlast.http.connections import Bounds, Connections
from outlast.http.room import Room
from outlast.model.clock import Clock
from outlast.model.error import Misconfigured
from outlast.services.findings import Finding
from outlast.services.system import Examine
from outlast.settings import Settings
from outlast.web import ROOMS, App, create_app, refusing, warm_up

_GRACE_SECONDS: Final = 3
"""How long open responses may take once the segments have ended."""
_FAREWELL_SECONDS: Final = 1.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_BACKLOG: Final = 2048
_COLLECT_AFTER: Final = 10_000
"""New objects between two collections of the youngest generation; Python's 700 suits smaller
programs."""

logger = structlog.get_logger(__name__)


Announce: TypeAlias = Callable[[str], None]
AfterStart: TypeAlias = Callable[[Core, FirstKey, str], Coroutine[None, None, None]]
"""What follows the start, given the server's URL."""


def serve(
    settings: Settings,
    announce: Announce,
    *,
    worker: bool = True,
    strict: bool = False,
    then: AfterStart | None = None,
    reload: bool = False,
) -> None:
    """Serve until a signal; without `worker`, other processes run the executions.

    With `strict`, agents that could not run and unknown settings prevent the start; with `reload`,
    changed files of the agents' folder are put into use.
    Raises Misconfigured, StoreLocked.
    """
    logs.configure(settings.log_level, settings.log_format)
    raise_limit()
    run_to_end(_serve(settings, announce, worker=worker, strict=strict, then=then, reload=reload))


def work(settings: Settings, announce: Announce, *, listen: bool) -> None:
    """Run executions until a signal; with `listen`, serve health and metrics over HTTP.

    Raises Misconfigured.
    """
    if not settings.on_postgres:
        raise Misconfigured(
            "A worker needs a database that processes share: "
            "OUTLAST_DATABASE_URL=postgresql://USER:PASSWORD@HOST/DATABASE. "
            "On SQLite, outlast serve does the work itself."
        )
    logs.configure(settings.log_level, settings.log_format)
    raise_limit()
    run_to_end(_work(settings, announce, listen=listen))


async def _work(settings: Settings, announce: Announce, *, listen: bool) -> None:
    hangups, file = Hangups(), AgentsFile(settings)
    loaded = file.loaded
    make_folder(settings)
    _warn_of_secret(settings)
    composed = compose(settings, loaded)
    core = composed.core
    check(core, loaded, worker=True, strict=False)
    await core.open()
    reloading = _reloads(core, hangups, lambda: file.reload(composed, None, worker=True))
    line = f"Outlast works with {settings.concurrency} places"
    try:
        if not listen:
            await _work_until_signal(core, lambda: announce(line), loaded)
            return
        with _listen(settings) as listener:
            await core.start()
            url = _url(listener)
            await _answer(core, listener, (), lambda: announce(f"{line}; health on {url}"), loaded)
    finally:
        await reloading.stop()
        await core.close()


def _reloads(core: Core, hangups: Hangups, reload: Callable[[], Awaitable[None]]) -> Duty:
    """Read the agents file again after each SIGHUP, until this is stopped."""
    duty = Duty(
        "reload_agents",
        lambda: hangups.watch(reload),
        every=0,
        sleep=core.clock.sleep,
        failures=core.metrics.failures,
        first=0.0,
    )
    duty.start()
    return duty


def _warn_of_secret(settings: Settings) -> None:
    """Warn about a missing secret key: processes that share a database need the same one."""
    if settings.on_postgres and not settings.secret_key:
        logger.warning(
            "secret.of_this_machine",
            file=str(settings.secret_file),
            remedy="set OUTLAST_SECRET_KEY to one value for every process on this database",
        )


async def _work_until_signal(core: Core, started: Callable[[], None], loaded: LoadedAgents) -> None:
    loop, leave = asyncio.get_running_loop(), asyncio.Event()

    watchdog = Watchdog(core.settings.drain_seconds)

    def signalled(number: int, _frame: FrameType | None) -> None:
        watchdog.signalled(number)
        loop.call_soon_threadsafe(leave.set)

    for number in _SIGNALS:
        signal.signal(number, signalled)
    watchdog.watch(_SIGNALS)
    await core.start()
    started()
    warming = core.metrics.failures.spawn(_warm_up(core, loaded), "warm_up")
    await leave.wait()
    logger.info("worker.draining", running=core.engine.running)
    warming.cancel()


async def _serve(
    settings: Settings,
    announce: Announce,
    *,
    worker: bool,
    strict: bool,
    then: AfterStart | None,
    reload: bool,
) -> None:
    hangups, file = Hangups(), AgentsFile(settings)
    loaded = file.loaded
    make_folder(settings)
    _warn_of_secret(settings)
    composed = compose(settings, loaded, worker=worker)
    core = composed.core
    check(core, loaded, worker=worker, strict=strict)
    await core.open()
    try:
        with _listen(settings) as listener, kept_address(settings, *_place(listener)):
            key = await first_key(settings, core.services.keys, core.services.workspaces)
            agents = await put_agents(core, key.workspace, loaded)
            await retire_agents(core, key.workspace, loaded)
            await core.start()
            examine = _examine(composed, file, _url(listener), worker=worker)
            core.services.system.examined_by(examine)
            names = [agent.spec.name for agent in agents]
            following = set[asyncio.Task[None]]()

            def started() -> None:
                announce(_welcome(settings, listener, names, key))
                if then is not None:
                    after = then(core, key, _url(listener))
                    following.add(core.metrics.failures.spawn(after, "after_start"))

            reloading = _reloads(
                core,
                hangups,
                lambda: file.reload(composed, key.workspace, worker=worker, strict=strict),
            )
            watch = watching(core, hangups.request) if reload else None
            try:
                await _answer(
                    core,
                    listener,
                    ROOMS,
                    started,
                    loaded if worker else NO_AGENTS,
                )
            finally:
                for task in following:
                    task.cancel()
                if watch is not None:
                    await watch.stop()
                await reloading.stop()
    finally:
        await core.close()


def _examine(composed: Composed, file: AgentsFile, url: str, *, worker: bool) -> Examine:
    """Return what examines this server; what it needs is imported by the first examination."""

    def examine() -> AsyncGenerator[Finding, None]:
        from outlast.cli.doctor_server import examine_running

        return examine_running(composed, file.loaded if worker else NO_AGENTS, url)

    return examine


async def _answer(
    core: Core,
    listener: socket.socket,
    rooms: tuple[Room, ...],
    started: Callable[[], None],
    loaded: LoadedAgents,
) -> None:
    """Serve requests until a signal, then drain."""
    app = create_app(core, rooms)
    connections = Connections(_bounds(core.settings), refusing(app, core.clock), core.clock)
    server = _Server(app, connections, core.clock, started, core.settings.drain_seconds)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="serve")
    leaving = asyncio.create_task(server.leave.wait(), name="leave")
    warming = core.metrics.failures.spawn(_warm_up(core, loaded, rooms), "warm_up")
    await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if not serving.done():
        logger.info("server.draining", running=core.engine.running)
        await core.drain()
        core.streams.leave()
        server.should_exit = True
    warming.cancel()
    await serving


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        connections_of(settings, files()),
        head=settings.request_head_seconds,
        body=settings.request_body_seconds,
        idle=settings.idle_connection_seconds,
    )


async def _warm_up(core: Core, loaded: LoadedAgents, rooms: tuple[Room, ...] = ()) -> None:
    """Load what the first execution needs, and exclude it from garbage collection.

    Loaded modules stay; each full collection would traverse them again.
    """
    await core.warm_up(loaded.models)
    if rooms:
        await warm_up()
    await check_slow(core, loaded)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


class _Server(uvicorn.Server):
    """uvicorn, with our shutdown."""

    def __init__(
        self,
        app: App,
        connections: Connections,
        clock: Clock,
        started: Callable[[], None],
        drain_seconds: float,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=cast("type[asyncio.Protocol]", connections.protocol),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self.leave = asyncio.Event()
        self._watchdog = Watchdog(drain_seconds)
        self._streams = app.state.streams
        self._clock = clock
        self._announce = started
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._watchdog.watch(_SIGNALS)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections; let idle ones be used once more before they are closed.

        A proxy about to send a request over one could not tell whether it was processed.
        """
        for server in self.servers:
            server.close()
        self._streams.end()
        if self.server_state.connections:
            self.server_state.default_headers = [
                *self.server_state.default_headers,
                (b"connection", b"close"),
            ]
            await self._clock.sleep(_FAREWELL_SECONDS)
            self._streams.end()  # those that have come since
        await super().shutdown(sockets)
        self._streams.spools.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, exit at the second: a crash loses nothing."""
        del frame
        self._watchdog.signalled(sig)
        self._loop.call_soon_threadsafe(self.leave.set)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address = (settings.host, settings.port)
    try:
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Misconfigured(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}. "
            "Choose another --port or --host."
        ) from error


def _welcome(settings: Settings, listener: socket.socket, agents: list[str], key: FirstKey) -> str:
    url = _url(listener)
    served = ", ".join(agents) if agents else "none from a file"
    line = f"Outlast answers on {url} · agents: {served} · key: {_where(settings, key)}"
    if key.made:
        return f"{line}\nThe first API key, shown this once: {key.secret}"
    return line


def _place(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return host, port


def _url(listener: socket.socket) -> str:
    host, port = _place(listener)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _where(settings: Settings, key: FirstKey) -> str:
    if settings.api_key:
        return "OUTLAST_API_KEY"
    if key.principal is None:
        return f"the one in {settings.key_file} is revoked; outlast keys create makes another"
    return str(settings.key_file)
