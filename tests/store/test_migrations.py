"""Migrations only go up, and a fresh schema equals a migrated one."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, NullPool, create_engine, event

from outlast.model.error import Misconfigured
from outlast.store import migrations
from outlast.store.schema import HEAD, metadata
from outlast.store.sqlite import SqliteDriver
from tests.support.databases import SQLITE, Database
from tests.support.old_databases import database_of

pytestmark = pytest.mark.anyio


def test_the_newest_migration_is_the_one_that_the_server_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def migrated(path: Path) -> None:
    """Run every migration on a new file."""
    migrations.upgrade(f"sqlite:///{path}")


def schema_of(path: Path) -> set[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
    return {(kind, name, *_clauses(sql)) for kind, name, sql in rows}


def _clauses(sql: str) -> list[str]:
    """The columns and constraints of a table in an order of their own."""
    _, _, inside = " ".join(sql.split()).partition("(")
    return sorted(clause.strip(" )") for clause in inside.split(", "))


@pytest.mark.filterwarnings(  # SQL of the index on an expression is compared beside it
    "ignore:Skipped unsupported reflection of expression-based index",
    "ignore:autogenerate skipping metadata-specified expression-based index",
)
def test_a_migrated_file_has_exactly_the_schema_of_the_tables(tmp_path: Path) -> None:
    migrated, fresh = tmp_path / "migrated.db", tmp_path / "fresh.db"
    migrations.upgrade(f"sqlite:///{migrated}")
    migrations.migrate_sqlite(fresh)
    assert migrations.sqlite_version(fresh) == HEAD
    assert schema_of(migrated) == schema_of(fresh)
    engine = create_engine(f"sqlite:///{migrated}", poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": _is_ours})
        assert compare_metadata(context, metadata) == []


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Whether a table is ours rather than one of an index of words."""
    return kind != "table" or name is None or not name.startswith("memory_words")


@pytest.mark.parametrize("make", [migrations.migrate_sqlite, migrated])
def test_an_execution_has_one_of_the_known_statuses(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "outlast.db"
    make(path)
    with closing(sqlite3.connect(path)) as connection:
        columns = connection.execute("PRAGMA table_info(executions)").fetchall()
        needed = [name for _, name, _, not_null, *_ in columns if not_null]
        insert = (
            f"INSERT INTO executions ({', '.join(needed)}) "
            f"VALUES ({', '.join(f':{name}' for name in needed)})"
        )
        row = dict.fromkeys(needed, 0)
        with pytest.raises(sqlite3.IntegrityError, match="ck_executions_status"):
            connection.execute(insert, row | {"status": "sleeping"})
        with pytest.raises(sqlite3.IntegrityError, match="completed_at_when_terminal"):
            connection.execute(insert, row | {"status": "cancelled"})
        connection.execute(insert, row | {"status": "paused"})
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_sqlite_that_protects_its_schema_keeps_the_checks_as_they_are(tmp_path: Path) -> None:
    def protect(connection: sqlite3.Connection, _: object) -> None:
        connection.set_authorizer(
            lambda action, table, *_: (
                sqlite3.SQLITE_DENY
                if (action, table) == (sqlite3.SQLITE_UPDATE, "sqlite_master")
                else sqlite3.SQLITE_OK
            )
        )

    path = tmp_path / "outlast.db"
    with database_of("0028", SQLITE, tmp_path, pytest.fail) as url:
        before = schema_of(path)
        event.listen(Engine, "connect", protect)
        try:
            migrations.upgrade(url)
        finally:
            event.remove(Engine, "connect", protect)
    assert migrations.sqlite_version(path) == HEAD
    assert schema_of(path) == before


def test_migrating_a_second_time_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "outlast.db"
    migrations.migrate_sqlite(path)
    before = schema_of(path)
    assert not migrations.create_schema(path)
    migrations.upgrade(f"sqlite:///{path}")
    assert schema_of(path) == before
    assert migrations.sqlite_version(path) == HEAD


async def newer(database: Database, oldest: str) -> None:
    """A database as a later version would leave it, which needs code of `oldest` or later."""
    driver = database.driver()
    await driver.open()
    await driver.close()
    database.rows("UPDATE alembic_version SET version_num = '9999'")
    database.rows(f"UPDATE compatibility SET oldest = '{oldest}'")


async def test_what_a_newer_version_has_only_added_to_is_worked_on(database: Database) -> None:
    await newer(database, HEAD)
    driver = database.driver()
    await driver.open()
    await driver.ping()
    await driver.close()
    assert database.rows("SELECT version_num FROM alembic_version") == [("9999",)]


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    await newer(database, "9998")
    with pytest.raises(Misconfigured, match="newer Outlast"):
        await database.driver().open()
    assert database.rows("SELECT version_num FROM alembic_version") == [("9999",)]


async def test_a_file_that_is_no_database_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "outlast.db"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(Misconfigured, match="cannot be used as a database"):
        await SqliteDriver(path).open()
    assert path.read_bytes().startswith(b"this is no database")
