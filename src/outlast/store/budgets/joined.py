"""A reservation in one budget as a single statement of Postgres."""

from typing import Final

from sqlalchemy import bindparam, literal_column, select, update

from outlast.store.budgets.tables import LEFT, RESERVING
from outlast.store.driver import Statement
from outlast.store.executions.tables import executions

RUNNING: Final = select(executions.c.id).where(
    executions.c.id == bindparam("given_id"),
    executions.c.workspace_id == bindparam("workspace"),
    executions.c.status == literal_column("'running'"),
    executions.c.segment == bindparam("given_segment"),
)
"""Selects a running segment's execution."""

_locked: Final = RUNNING.with_for_update().cte("running")
_held: Final = RESERVING.where(select(_locked.c.id).exists()).returning(*LEFT).cte("held")
_written: Final = (
    update(executions)
    .where(
        executions.c.id == bindparam("given_id"),
        executions.c.workspace_id == bindparam("workspace"),
        select(_held.c.owner).exists(),
    )
    .values(reserved=bindparam("new_reserved"))
    .returning(executions.c.id)
    .cte("written")
)
RESERVE_AND_WRITE: Final = Statement(select(_held.c.owner, _held.c.millis_left).add_cte(_written))
"""`RESERVE_WHILE_RUNNING`, and writes what is reserved into the execution's row."""
