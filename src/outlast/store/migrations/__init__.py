"""Migrations: they only go up, and a fresh schema equals a migrated one.

A new file gets the newest schema at once. Alembic is loaded only to migrate an older schema: it
takes a third of a server's start.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from outlast.model.error import Misconfigured
from outlast.store.full_disk import reason_of
from outlast.store.schema import BESIDE_TABLES, HEAD, OLDEST, metadata

_PASSING: Final = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
)
"""Errors of the disk or by another process; the file itself may be intact."""


def sqlite_version(path: Path) -> str | None:
    """Return the newest migration of this file; None for a new file."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return None
        return None if row is None else str(row[0])


def is_old(path: Path) -> bool:
    """Whether the file is missing, or older than the newest schema. Raises Misconfigured."""
    try:
        return not path.exists() or (sqlite_version(path) or "") < HEAD
    except sqlite3.Error as error:
        raise Misconfigured(f"The database {path} cannot be opened: {reason_of(error)}.") from error


def refuse_newer(where: str, version: str, oldest: str) -> None:
    """Raise Misconfigured unless code of this version may work on the newer database.

    It may if the newer version has only added to the schema.
    """
    if oldest > HEAD:
        raise Misconfigured(
            f"{where} was written by a newer Outlast (schema {version}, which needs code for "
            f"{oldest} or later; this one knows {HEAD}). Install that version, or restore a backup."
        )


def migrate_sqlite(path: Path) -> None:
    """Migrate the file to the newest schema.

    Raises Misconfigured for a file of a later version, one that is not a database, and one that
    cannot be written.
    """
    try:
        _migrate_sqlite(path)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
            raise Misconfigured(
                f"The database {path} cannot be opened: {reason_of(error)}."
            ) from error
        raise Misconfigured(
            f"{path} cannot be used as a database: {error}. Restore a backup, or move it away to "
            "begin with an empty one."
        ) from error


def _migrate_sqlite(path: Path) -> None:
    version = sqlite_version(path)
    if version == HEAD:
        return
    if version is None and create_schema(path):
        return
    if version is not None and version > HEAD:
        refuse_newer(str(path), version, sqlite_oldest(path) or version)
        return
    upgrade(f"sqlite:///{path}")


def sqlite_oldest(path: Path) -> str | None:
    """Return the oldest schema whose code may work on this file; None if it does not say so."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT max(oldest) FROM compatibility").fetchone()
        return None if row is None else row[0]


def create_schema(path: Path) -> bool:
    """Write the newest schema to an empty file in one transaction; return False if not empty."""
    dialect = sqlite.dialect()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
            connection.execute("ROLLBACK")
            return False
        for table in metadata.sorted_tables:
            connection.execute(str(CreateTable(table).compile(dialect=dialect)))
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                connection.execute(str(CreateIndex(index).compile(dialect=dialect)))
        for statement in BESIDE_TABLES[dialect.name]:
            connection.execute(statement)
        connection.execute(_VERSIONS)
        connection.execute("INSERT INTO alembic_version VALUES (?)", (HEAD,))
        connection.execute("INSERT INTO compatibility VALUES (?)", (OLDEST,))
        connection.execute("COMMIT")
    return True


_VERSIONS = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
"""The table as Alembic creates it."""


def upgrade(url: str) -> None:
    """Run all missing migrations on the database of this SQLAlchemy URL."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")
