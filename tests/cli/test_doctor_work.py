"""`outlast doctor` on the work in a Postgres database: each state that it tells of is made."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import orjson
import pytest
from alembic import command
from alembic.config import Config

from outlast.agents.models.scripted import ScriptedModel
from outlast.agents.tools.toolbox import ToolBox
from outlast.app import Core, build
from outlast.cli.state import migrate
from outlast.engine.dispatch.procrastinate.queue import Queue
from outlast.model.agent import AgentSpec
from outlast.model.clock import SystemClock
from outlast.services.executions import StartExecution
from outlast.services.findings import Level
from outlast.settings import Settings
from outlast.store import migrations
from outlast.store.postgres.migrate import migrate as migrate_schema
from outlast.store.postgres.migrate import sqlalchemy_url
from outlast.store.schema import HEAD
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.command_line import CommandLine
from tests.support.databases import POSTGRESQL, Database
from tests.support.doctor import findings
from tests.support.postgres import Databases

pytestmark = pytest.mark.anyio

Outlast = Callable[..., tuple[int, str, str]]
TAKEOVER: Final = 2.0


@pytest.fixture
def database(postgres: Databases, tmp_path: Path) -> Database:
    """On Postgres alone, and empty."""
    return Database(POSTGRESQL, postgres.empty(), tmp_path)


@pytest.fixture
async def ready(database: Database) -> Database:
    """One that `outlast migrate` has brought up to date."""
    await migrate(settings(database))
    return database


def settings(database: Database) -> Settings:
    return Settings(database_url=database.url, data_dir=database.folder, takeover_seconds=TAKEOVER)


@asynccontextmanager
async def core_on(database: Database, *, worker: bool) -> AsyncIterator[Core]:
    clock = SystemClock()
    script = ScriptedModel.from_data({"turns": [{"steps": [{"text": "Hello"}]}]}, clock)
    models = NamedModels({"script": script})
    core = build(
        settings(database),
        models=models,
        tools=lambda *_: ToolBox(clock),
        clock=clock,
        worker=worker,
    )
    await core.open()
    try:
        await core.start()
        yield core
    finally:
        await core.close()


async def accepted(database: Database) -> str:
    """An execution that was accepted where no worker is; its id."""
    async with core_on(database, worker=False) as core:
        caller = await owner(core)
        spec = AgentSpec("agent", "script")
        await core.services.agents.put(caller.workspace_id, [(spec, "1")])
        started = await core.services.executions.start(caller, "agent", StartExecution("hello"))
        return started.execution.id


# --- the schema and the queue


async def test_an_empty_database_wants_a_migration(database: Database) -> None:
    found = await findings(database.url)

    assert (found["schema"].level, found["schema"].remedy) == (Level.WARN, "outlast migrate")
    assert "none yet" in found["schema"].text
    assert "workers" not in found


def test_migrate_says_that_it_is_done_and_may_be_said_twice(
    command_line: CommandLine, outlast: Outlast
) -> None:
    for _ in range(2):
        code, out, err = outlast("migrate")
        assert (code, err) == (0, "")
        assert out.startswith("Up to date: the Postgres database outlast_test_")

    found = {row["check"]: row["level"] for row in orjson.loads(outlast("doctor", "--json")[1])}
    assert (found["schema"], found["workers"], found["jobs"]) == ("ok", "warn", "ok")
    assert "queue" not in found


async def test_an_older_schema_is_reported_and_migrated(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("sqlalchemy.url", sqlalchemy_url(database.url))
    command.upgrade(config, "0001")

    schema = (await findings(database.url))["schema"]
    assert (schema.level, schema.remedy) == (Level.WARN, "outlast migrate")
    assert "0001; this version works with" in schema.text

    await migrate(settings(database))
    assert (await findings(database.url))["schema"].text == f"the newest ({HEAD})"


@pytest.mark.parametrize(
    ("oldest", "level", "text"),
    [("0001", Level.OK, "work beside it"), ("9000", Level.FAIL, "needs code for 9000")],
)
async def test_a_newer_schema_is_reported_and_whether_this_version_may_work_on_it(
    ready: Database, oldest: str, level: Level, text: str
) -> None:
    ready.rows("UPDATE alembic_version SET version_num = '9001'")
    ready.rows(f"INSERT INTO compatibility VALUES ('{oldest}')")

    found = await findings(ready.url)

    assert found["schema"].level is level
    assert text in found["schema"].text
    assert ("workers" in found) == (level is Level.OK)


async def test_a_queue_without_tables_is_reported_and_made(database: Database) -> None:
    migrate_schema(database.url)
    queue = (await findings(database.url))["queue"]
    assert (queue.level, queue.remedy) == (Level.FAIL, "outlast migrate")

    await migrate(settings(database))
    assert "queue" not in await findings(database.url)


async def test_a_queue_of_another_version_is_reported(ready: Database) -> None:
    ready.rows("DROP FUNCTION procrastinate_fetch_job_v2")

    queue = (await findings(ready.url))["queue"]

    assert queue.level is Level.FAIL
    assert queue.text.endswith("it lacks procrastinate_fetch_job_v2")


# --- workers and jobs


async def test_no_worker_is_a_warning_until_an_execution_waits_for_one(ready: Database) -> None:
    before = await findings(ready.url)
    assert before["workers"].level is Level.WARN
    assert before["waiting"].text == "no execution waits for a worker"

    await accepted(ready)
    after = await findings(ready.url)

    assert after["workers"].level is Level.FAIL
    assert after["workers"].text == "none is alive, and 1 execution waits"
    assert "outlast worker" in str(after["workers"].remedy)
    assert after["waiting"].level is Level.OK, "it has not waited long"


async def test_a_worker_that_lives_is_counted(ready: Database) -> None:
    async with core_on(ready, worker=True):
        found = await findings(ready.url, takeover_seconds=TAKEOVER)

    assert (found["workers"].level, found["workers"].text) == (Level.OK, "1 alive")


async def test_the_process_that_leads_maintenance_is_named_and_none_is_a_warning(
    ready: Database,
) -> None:
    without_leader = (await findings(ready.url))["maintenance"]
    assert without_leader.level is Level.WARN
    assert "no process leads" in without_leader.text
    for worker, kind in ((True, "which runs executions"), (False, "which runs no executions")):
        async with core_on(ready, worker=worker) as core:
            async with asyncio.timeout(10):
                await core.maintenance._leadership.elected()
            found = (await findings(ready.url))["maintenance"]
            assert found.level is Level.OK
            assert found.text.startswith(f"process {os.getpid()} on ")
            assert found.text.endswith(kind)
    assert (await findings(ready.url))["maintenance"].level is Level.WARN


async def test_an_execution_that_waits_long_is_reported_with_its_age(ready: Database) -> None:
    await accepted(ready)
    ready.rows("UPDATE procrastinate_events SET at = at - interval '90 seconds'")

    waiting = (await findings(ready.url))["waiting"]

    assert waiting.level is Level.WARN
    assert "1 execution waits for a worker, the next for 9" in waiting.text

    ready.rows("UPDATE procrastinate_jobs SET scheduled_at = now() + interval '1 hour'")
    assert (await findings(ready.url))["waiting"].level is Level.OK, "it is not due yet"


async def test_an_execution_held_by_a_silent_worker_is_reported(ready: Database) -> None:
    execution = await accepted(ready)
    queue = Queue(ready.url)
    async with queue.connected():
        worker = await queue.enter()
        assert await queue.fetch(worker)
    assert (await findings(ready.url, takeover_seconds=TAKEOVER))["stuck"].level is Level.OK

    ready.rows("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '5 seconds'")
    stuck = (await findings(ready.url, takeover_seconds=TAKEOVER))["stuck"]

    assert stuck.level is Level.FAIL
    assert stuck.text == (
        "1 execution is held by a worker that has been silent for 4 s, such as " + execution
    )


async def test_an_execution_without_a_job_is_reported_once_a_worker_should_have_seen_it(
    ready: Database,
) -> None:
    execution = await accepted(ready)
    ready.rows("DELETE FROM procrastinate_jobs")
    assert (await findings(ready.url))["jobs"].level is Level.OK, "it may be between two hands"

    jobs = (await findings(ready.url, FakeClock(SystemClock().now() + 61_000)))["jobs"]

    assert jobs.level is Level.FAIL
    assert jobs.text == f"1 execution waits to run without a job, such as {execution}"


# --- what every process must have alike


async def test_an_agents_file_that_differs_from_the_servers_is_reported(
    command_line: CommandLine, ready: Database
) -> None:
    async def versions() -> tuple[Level, str]:
        found = await findings(ready.url, agents=str(command_line.folder / "agents.yaml"))
        return found["versions"].level, found["versions"].text

    assert await versions() == (
        Level.WARN,
        "the agents file differs from the database in demo, careful",
    )
    command_line.serve(OUTLAST_DATABASE_URL=ready.url)
    assert (await versions())[0] is Level.OK

    file = command_line.folder / "agents.yaml"
    file.write_text(file.read_text().replace("description: Pay", "description: Pay less"))
    assert (await versions())[1] == "the agents file differs from the database in careful"


async def test_a_secret_of_this_machine_alone_is_reported(ready: Database) -> None:
    alone = (await findings(ready.url))["secret"]
    assert alone.level is Level.WARN
    assert "OUTLAST_SECRET_KEY" in str(alone.remedy)

    shared = (await findings(ready.url, secret_key="one for all"))["secret"]
    assert shared.level is Level.OK
    assert "one for all" not in shared.text
