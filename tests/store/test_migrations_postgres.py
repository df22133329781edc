"""Migrations of Postgres: a fresh schema equals a migrated one, and processes do not collide."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from sqlalchemy import MetaData, create_engine, text

from outlast.store.postgres.migrate import migrate, sqlalchemy_url, version
from outlast.store.schema import BESIDE_TABLES, HEAD, metadata
from tests.support.databases import migrate_postgres
from tests.support.postgres import BOUND, Databases
from tests.support.python_process import PythonProcess

PROCESSES = 3
CATALOG = {
    "columns": """
        SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, collname,
            pg_get_expr(adbin, adrelid)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
            LEFT JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
            AND attnum > 0 AND NOT attisdropped
    """,
    "constraints": """
        SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid)
        FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
        WHERE relnamespace = 'public'::regnamespace
    """,
    "indices": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}
OTHERS = ("alembic_version", "procrastinate_")
OPENER = """
import asyncio, sys
from outlast.engine.dispatch.procrastinate.queue import Queue
from outlast.store.postgres.driver import PostgresDriver

async def main(url):
    driver, queue = PostgresDriver(url), Queue(url)
    print("ready", flush=True)
    sys.stdin.readline()
    await driver.open()
    await queue.prepare()
    await driver.ping()
    await driver.close()

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
def url(postgres: Databases) -> Iterator[str]:
    """A database without any table."""
    url = postgres.empty()
    yield url
    postgres.drop(url)


@pytest.fixture
def other_url(postgres: Databases) -> Iterator[str]:
    url = postgres.empty()
    yield url
    postgres.drop(url)


def catalog_of(url: str) -> dict[str, set[tuple[Any, ...]]]:
    """All that Postgres knows of our tables."""
    with psycopg.connect(url) as connection:
        return {
            name: {
                row
                for row in connection.execute(query).fetchall()
                if not str(row[0]).startswith(OTHERS)
            }
            for name, query in CATALOG.items()
        }


def tables() -> MetaData:
    """The tables, whose partial indices are partial here by the same conditions as in SQLite."""
    copied = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        for index in table.to_metadata(copied).indexes:
            condition = index.dialect_options["sqlite"]["where"]
            index.dialect_options["postgresql"]["where"] = condition
    return copied


def test_a_migrated_database_has_exactly_the_schema_of_the_tables(url: str, other_url: str) -> None:
    migrate(url)
    engine = create_engine(sqlalchemy_url(other_url))
    tables().create_all(engine)
    with engine.begin() as connection:
        for statement in BESIDE_TABLES["postgresql"]:
            connection.execute(text(statement))
    engine.dispose()
    migrated, fresh = catalog_of(url), catalog_of(other_url)
    for name in CATALOG:
        assert migrated[name] == fresh[name]
    assert {row[0] for row in migrated["columns"]} == set(metadata.tables)


def test_migrating_a_second_time_changes_nothing(url: str) -> None:
    migrate_postgres(url)
    before = catalog_of(url)
    migrate_postgres(url)
    assert catalog_of(url) == before
    with psycopg.connect(url) as connection:
        assert version(connection) == HEAD


def test_processes_that_open_an_empty_database_at_once_all_find_it_ready(url: str) -> None:
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                PythonProcess(
                    [sys.executable, "-c", OPENER, url],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(PROCESSES)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            _, complaints = process.communicate(timeout=BOUND)
            assert process.returncode == 0, complaints
    with psycopg.connect(url) as connection:
        assert version(connection) == HEAD
