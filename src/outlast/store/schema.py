"""The schema's version, and the tables of all subjects in one `metadata`.

Times are milliseconds since the epoch. Ids are TypeID strings: they sort by creation, so a list
"newest first" is a walk down an index. Partial indices are partial on Postgres too; there the
migrations alone define that, because SQLAlchemy loads a database's whole dialect to read one option
of it. What belongs to an execution (steps, events, checkpoints, waits) is owned through it.
"""

from typing import Final

from sqlalchemy import Column, Table, Text

from outlast.store import agents, charges, checkpoints, idempotency, keys, leases, usage
from outlast.store.budgets import tables as budgets
from outlast.store.conversations import rows as conversations
from outlast.store.executions import browsers
from outlast.store.executions import tables as executions
from outlast.store.memory import tables as memory
from outlast.store.memory.words import INDEX
from outlast.store.schedules import rows as schedules
from outlast.store.tables import metadata
from outlast.store.tasks import rows as tasks
from outlast.store.waits import rows as waits

__all__ = ["BESIDE_TABLES", "HEAD", "OLDEST", "SUBJECTS", "metadata"]

HEAD: Final = "0021"
"""The newest migration; compared at start before Alembic is loaded."""
OLDEST: Final = "0010"
"""The oldest schema whose code still works on a database of this one: migrations expand first, and
only a later release contracts. It is kept in `compatibility`, where older code reads it."""
SUBJECTS: Final = (
    agents,
    waits,
    browsers,
    budgets,
    charges,
    checkpoints,
    conversations,
    executions,
    idempotency,
    keys,
    leases,
    schedules,
    memory,
    tasks,
    usage,
)
"""The modules that declare tables; each adds its own to `metadata`."""

BESIDE_TABLES: Final = INDEX
"""Statements, by the database's name, that complete the schema after its tables."""

compatibility: Final = Table("compatibility", metadata, Column("oldest", Text, nullable=False))
