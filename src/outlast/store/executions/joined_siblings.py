"""Statements of Postgres that move several siblings at once: each parameter is an array.

Rows are locked the newest id first, as everywhere. An execution that has moved on is not among the
rows that they return.
"""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    insert,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.sql.expression import TableValuedAlias, Update
from sqlalchemy.types import TypeEngine

from outlast.store.budgets.applicable import APPLYING
from outlast.store.driver import BatchStatement
from outlast.store.executions.columns import Writer, written_by
from outlast.store.executions.joined import BEGIN_ONE
from outlast.store.executions.statements import ADVANCED, LAST_SEQ
from outlast.store.executions.tables import events, executions

_COMPARED: Final = ("status", "segment", "waiting", "steps", "credits")
BEGINNING: Final = (
    "status",
    "segment",
    "updated_at",
    "started_at",
    "active_ms",
    "active_since",
    "tries",
)
"""Columns that the begin of a segment changes."""
ENDING: Final = tuple(name for name in written_by(Writer.ADVANCE) if name != "children")
"""Columns that the end of an execution without children changes."""


def _given(columns: Iterable[str], more: Iterable[str] = ()) -> TableValuedAlias:
    """Return the parameters as a table; `more`: of an event of each execution."""
    types: dict[str, TypeEngine[Any]] = {"id": Text(), "workspace": Text()}
    types |= {f"from_{name}": _plain(executions.c[name].type) for name in _COMPARED}
    types |= {f"new_{name}": _plain(executions.c[name].type) for name in columns}
    types |= {name: _plain(events.c[name].type) for name in more}
    arrays = (cast(bindparam(name), ARRAY(kind)) for name, kind in types.items())
    rows = func.unnest(*arrays).table_valued(*(column(name, kind) for name, kind in types.items()))
    return rows.render_derived()


def _plain(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return a type without its collation."""
    return Text() if isinstance(kind, Text) or kind.python_type is str else kind


def _moved(given: TableValuedAlias, columns: Iterable[str]) -> Update:
    locked = (
        select(executions.c.id)
        .where(executions.c.id == any_(cast(bindparam("id"), ARRAY(Text()))))
        .order_by(executions.c.id.desc())
        .with_for_update()
        .cte("locked")
    )
    return (
        update(executions)
        .where(
            executions.c.id == locked.c.id,
            executions.c.id == given.c.id,
            executions.c.workspace_id == given.c.workspace,
            *(executions.c[name] == given.c[f"from_{name}"] for name in _COMPARED),
        )
        .values({name: given.c[f"new_{name}"] for name in columns})
    )


_beginning: Final = _given(BEGINNING, ("kind", "data", "at"))
_begun: Final = (
    _moved(_beginning, BEGINNING)
    .returning(
        executions.c.id,
        executions.c.segment,
        LAST_SEQ.label("seq"),
        APPLYING.label("applying"),
        _beginning.c.kind,
        _beginning.c.data,
        _beginning.c.at,
    )
    .cte("begun")
)
_begins: Final = select(_begun.c.id, _begun.c.seq, _begun.c.applying).add_cte(
    insert(events)
    .from_select(
        ["execution_id", "seq", "segment", "kind", "data", "at"],
        select(
            _begun.c.id,
            _begun.c.seq + literal_column("1"),
            _begun.c.segment,
            _begun.c.kind,
            _begun.c.data,
            _begun.c.at,
        ),
    )
    .returning(events.c.seq)
    .cte("appended")
)

BEGIN_SIBLINGS: Final = BatchStatement(BEGIN_ONE, arrays=_begins)
"""Sets rows to running, each with one event; returns id, last event before it, budgets."""

_ending: Final = _given(ENDING)
_ends: Final = (
    _moved(_ending, ENDING)
    .values(pause_requested=null())
    .returning(executions.c.id, LAST_SEQ, APPLYING)
)

END_SIBLINGS: Final = BatchStatement(
    ADVANCED.returning(executions.c.id, LAST_SEQ, APPLYING), arrays=_ends
)
"""Ends executions; returns id, last event of the log, budgets."""
