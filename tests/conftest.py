"""Fixtures that every test may use.

A test that takes `database`, itself or by a fixture, runs once on each kind of database that
`--database` asks for, or on those that its marker `only` names. `postgres` is the server itself.
"""

import functools
import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from httpx2._transports import default
from hypothesis import HealthCheck, settings
from starlette import routing

from outlast import logs
from tests.support import disks, durations
from tests.support.databases import KINDS, POSTGRESQL, SQLITE, Another, Database, databases_of
from tests.support.forked import Forked
from tests.support.mcp_http import serving
from tests.support.mcp_tasks import TaskServer
from tests.support.postgres import Cluster, Databases

_COLLECT_AFTER: Final = 10_000
"""New objects between two collections of the youngest generation, as in a server."""
_LOGS: Final[list[Any]] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
]

# Each test that needs an application makes one, with the same hundred paths.
routing.compile_path = functools.cache(routing.compile_path)
# Each HTTP client would read the machine's certificates anew.
transports: Any = default
transports.create_ssl_context = functools.cache(transports.create_ssl_context)

# A machine that is busy with other tests makes examples slowly; that says nothing of the code.
settings.register_profile(
    "beside_others", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fast", settings.get_profile("beside_others"), max_examples=20)
settings.load_profile("beside_others")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=(*KINDS, "both"),
        default="both",
        help="run what needs a database on this kind, or on both",
    )
    parser.addoption("--fast", action="store_true", help="leave out Postgres and slow modules")
    parser.addoption("--processes", type=int, default=1, help="share the run among so many")
    parser.addoption("--module-times", action="store_true", help="add up the time of each module")


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # until all is imported and collected, which stays
    disks.files_in_memory()
    config.addinivalue_line("markers", "only(kind): what this test shows is this database's own")
    times, fast = config.getoption("--module-times"), config.getoption("--fast")
    if times or fast:
        config.pluginmanager.register(durations.ModuleTimes(fast=not times))
    if fast:
        settings.load_profile("fast")
    if (processes := config.getoption("--processes")) > 1:
        config.pluginmanager.register(Forked(processes))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    only = metafunc.definition.get_closest_marker("only")
    kinds = KINDS if only is None else only.args
    if "postgres" in metafunc.fixturenames:
        kinds = (SQLITE,)  # it brings its own, and is not to run twice
    if "another_database" in metafunc.fixturenames:
        metafunc.parametrize("another_database", kinds, indirect=True)
    if "module_database" in metafunc.fixturenames:
        metafunc.parametrize("module_database", kinds, indirect=True, scope="module")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    fast = config.getoption("--fast")
    wanted = SQLITE if fast else config.getoption("--database")
    left_out = [
        item
        for item in items
        if (wanted != "both" and _database_of(item) not in (None, wanted))
        or (fast and durations.seconds_of(item))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
    if config.getoption("--processes") > 1:
        durations.slowest_first(items)


def pytest_collection_finish() -> None:
    """Leave what is loaded out of garbage collections, which would traverse it for each test."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK:
        disks.remove_files()


def _database_of(item: pytest.Item) -> str | None:
    """The kind that a test runs on; None where it needs no database."""
    assert isinstance(item, pytest.Function)
    if "postgres" in item.fixturenames:
        return POSTGRESQL
    given: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    return given.get("another_database") or given.get("module_database")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """A real Postgres, started by the first test that needs it."""
    with ExitStack() as stack:
        given = os.environ.get("OUTLAST_TEST_POSTGRES_URL")
        url = given or stack.enter_context(Cluster(autovacuum="off")).url()
        yield stack.enter_context(closing(Databases(url, recycle=True)))


@pytest.fixture
def another_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Another]:
    """Makes empty databases of the kind that this run of the test is on."""
    with databases_of(request.param, tmp_path, _postgres(request)) as another:
        yield another


@pytest.fixture
def database(another_database: Another) -> Database:
    """An empty database."""
    return another_database()


@pytest.fixture(scope="module")
def module_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """One that the tests of a module share."""
    folder = tmp_path_factory.mktemp("database")
    with databases_of(request.param, folder, _postgres(request)) as another:
        yield another()


def _postgres(request: pytest.FixtureRequest) -> Callable[[], Databases]:
    def started() -> Databases:
        found: Databases = request.getfixturevalue("postgres")
        return found

    return started


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop that the server uses."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    """Logs with plain tracebacks: with all their variables, one takes a second.

    A test that sets up logs leaves them as they were.
    """
    structlog.configure(processors=_LOGS)
    yield
    structlog.reset_defaults()
    logs.unconfigure()


@pytest.fixture
async def tasks() -> AsyncIterator[TaskServer]:
    """An MCP server that works by itself on what it is called for."""
    server = TaskServer()
    async with serving(server):
        yield server
