"""Which budgets an execution spends from: a column of the statements that move its row.

So an execution without any costs no statement for it.
"""

from typing import Any, Final

from sqlalchemy import Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement

_SELECTED: Final = (
    "(SELECT {joined}(budgets.owner || ' ' || CAST(COALESCE(budgets.resets_at, 0) AS TEXT) || ' '"
    " || CAST(budgets.shares AS TEXT) || ' ' || CAST(budgets.created_at AS TEXT), ',')"
    " FROM budgets WHERE budgets.owner IN ("
    "executions.workspace_id, executions.key_id, executions.conversation_id,"
    " COALESCE(executions.root_id, executions.id), (SELECT root.conversation_id"
    " FROM executions AS root WHERE root.id = executions.root_id)))"
)

_ANY: Final = "EXISTS (SELECT 1 FROM budgets WHERE budgets.workspace_id = executions.workspace_id)"
"""SQLite makes a temporary table of the owners, also where there is nothing to be found."""


class _Applying(ColumnElement[str]):
    """The budgets that the row of `executions` spends from; null if there are none.

    Each with the end of its period, or 0, the number of its shares, and when it was made. A child
    has those of its root's conversation. It is text, because SQLAlchemy names no tables in a
    RETURNING of SQLite.
    """

    inherit_cache = True
    type = Text()


@compiles(_Applying)
def _in_postgres(element: _Applying, compiler: SQLCompiler, **more: Any) -> str:
    del element, compiler, more
    return _SELECTED.format(joined="string_agg")


@compiles(_Applying, "sqlite")
def _in_sqlite(element: _Applying, compiler: SQLCompiler, **more: Any) -> str:
    del element, compiler, more
    selected = _SELECTED.format(joined="group_concat")
    return f"CASE WHEN {_ANY} THEN {selected} END"


APPLYING: Final = _Applying()
