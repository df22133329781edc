"""Migrations: they only go up, and a fresh schema equals a migrated one.

Alembic is loaded only where there is something to do: it costs a third of a server's start.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from outlast.model.error import Misconfigured
from outlast.store.schema import HEAD


def sqlite_version(path: Path) -> str | None:
    """The newest migration that this file has; None for a new file."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            return None
        return None if row is None else str(row[0])


def migrate_sqlite(path: Path) -> None:
    """Bring the file to the newest schema. Raises Misconfigured for a file from a later version."""
    version = sqlite_version(path)
    if version == HEAD:
        return
    if version is not None and version > HEAD:
        raise Misconfigured(
            f"{path} was written by a newer Outlast (schema {version}, this one knows {HEAD}). "
            "Install that version, or restore a backup."
        )
    upgrade(f"sqlite:///{path}")


def upgrade(url: str) -> None:
    """Run every migration that the database of this SQLAlchemy URL lacks."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")
