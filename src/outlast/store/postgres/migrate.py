"""Migrates a Postgres database to this version's schema, one process at a time.

Many processes may start at once: an advisory lock lets one of them migrate while the others wait. A
database to which a newer version has only added is used as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from outlast.model.error import Misconfigured, Overloaded
from outlast.store.migrations import refuse_newer, upgrade
from outlast.store.postgres.refusal import connecting, line_of
from outlast.store.schema import HEAD

_LOCK: Final = 0x6F75746C617374
"""The advisory lock's number: "outlast" in ASCII."""


async def is_current(connection: AsyncConnection[Any]) -> bool:
    """Return whether the database has exactly this version's schema; else `migrate` is needed."""
    try:
        found = await connection.execute("SELECT max(version_num) FROM alembic_version")
        return await found.fetchone() == (HEAD,)
    except psycopg.Error:
        return False


def migrate(url: str) -> None:
    """Migrate the database to the newest schema.

    Raises Misconfigured for a database that needs a newer version or refuses access, Overloaded if
    it is unavailable.
    """
    with connecting():
        connection = psycopg.connect(url, autocommit=True)
    with connection, _migrating():
        if _is_new_enough(connection):
            return
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        if not _is_new_enough(connection):
            upgrade(sqlalchemy_url(url))


@contextmanager
def _migrating() -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        text = f"The database cannot be migrated: {line_of(cause or error)}."
        away = isinstance(cause, psycopg.OperationalError)
        raise (Overloaded if away else Misconfigured)(text) from error


def version(connection: psycopg.Connection[tuple[str]]) -> str | None:
    """Return the newest migration of the database; None for an empty one."""
    return _one(connection, "alembic_version", "version_num")


def compatibility(connection: psycopg.Connection[tuple[str]]) -> str | None:
    """Return the oldest schema version whose code works on the database."""
    return _one(connection, "compatibility", "oldest")


def _is_new_enough(connection: psycopg.Connection[tuple[str]]) -> bool:
    found = version(connection)
    if found is not None and found > HEAD:
        refuse_newer("The database", found, compatibility(connection) or found)
    return found is not None and found >= HEAD


def _one(connection: psycopg.Connection[tuple[str]], table: str, column: str) -> str | None:
    """Return a column of a table's only row; None if there is no such table."""
    there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    if there is None or not there[0]:
        return None
    row = connection.execute(f"SELECT max({column}) FROM {table}").fetchone()  # noqa: S608 - our own names
    return None if row is None else row[0]


def sqlalchemy_url(url: str) -> str:
    """Return the URL in SQLAlchemy's form."""
    given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    made = URL.create(
        "postgresql+psycopg", given.pop("user", None), given.pop("password", None), query=given
    )
    return made.render_as_string(hide_password=False)
