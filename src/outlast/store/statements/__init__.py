"""Every statement, named, with what it guarantees. Time and ids are bound parameters.

A statement is written once in SQLAlchemy Core and compiled once per database to text; drivers run
the text. Ownership: what hangs on an execution is reached through `OWNED`, which is empty for
another workspace's id.
"""

from typing import Final

from sqlalchemy import bindparam, select

from outlast.store import schema

OWNED: Final = (
    select(schema.executions.c.id)
    .where(
        schema.executions.c.id == bindparam("id"),
        schema.executions.c.workspace_id == bindparam("workspace"),
    )
    .scalar_subquery()
)
"""The execution's id, if it is of this workspace."""
