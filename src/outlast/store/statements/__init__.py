"""Every statement, named, with what it guarantees. Time and ids are bound parameters.

A statement is written once in SQLAlchemy Core and compiled once per database to text; drivers run
the text. Ownership: what hangs on an execution is reached through `OWNED`, which is empty for
another workspace's id.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, literal_column, select
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import ClauseElement, Executable, Insert, SelectBase

from outlast.store import schema


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One statement; identity is its cache key."""

    clause: Executable

    @property
    def inserts(self) -> bool:
        """Whether it adds rows that are all in its parameters, and says nothing."""
        return isinstance(self.clause, Insert) and self.clause.select is None and not self.answers

    @property
    def answers(self) -> bool:
        """Whether it has rows that somebody reads."""
        return isinstance(self.clause, SelectBase) or bool(getattr(self.clause, "_returning", ()))

    def compiled(self, dialect: Dialect) -> tuple[str, dict[str, Any]]:
        """Its text for a database, and the values that are part of it."""
        assert isinstance(self.clause, ClauseElement)
        compiled = self.clause.compile(dialect=dialect)
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        return str(compiled), constants


OWNED: Final = (
    select(schema.executions.c.id)
    .where(
        schema.executions.c.id == bindparam("id"),
        schema.executions.c.workspace_id == bindparam("workspace"),
    )
    .scalar_subquery()
)
"""The execution's id, if it is of this workspace."""

PING: Final = Statement(select(literal_column("1")))
