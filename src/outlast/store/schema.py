"""The schema's version, and the tables of all subjects in one `metadata`.

Times are milliseconds since the epoch. Ids are TypeID strings: they sort by creation, so a list
"newest first" is a walk down an index. Partial indices are partial on Postgres too; there the
migrations alone define that, because SQLAlchemy loads a database's whole dialect to read one option
of it. What belongs to an execution (steps, events, checkpoints, waits) is owned through it.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Column, Table, Text

from outlast.store import leases, store
from outlast.store.memory.words import INDEX
from outlast.store.tables import metadata

__all__ = ["BESIDE_TABLES", "HEAD", "OLDEST", "SUBJECTS", "metadata"]

SUBJECTS: Final = (store, leases)
"""The modules by which all tables are declared: each adds its own to `metadata`."""
_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"
_NUMBER: Final = 4
"""Digits with which the name of a migration begins."""

HEAD: Final = max(file.name[:_NUMBER] for file in _VERSIONS.glob("[0-9]*.py"))
"""The newest migration; compared at start before Alembic is loaded."""
OLDEST: Final = "0010"
"""The oldest schema whose code still works on a database of this one: migrations expand first, and
only a later release contracts. It is kept in `compatibility`, where older code reads it."""
BESIDE_TABLES: Final = INDEX
"""Statements, by the database's name, that complete the schema after its tables."""

compatibility: Final = Table("compatibility", metadata, Column("oldest", Text, nullable=False))
