"""Deletes the content of purged executions, a bounded number of rows in a transaction.

Executions with `purging` have content left in other tables. That flag is the whole state of the
work: after a crash whoever runs next continues with what is left.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, literal_column, select, text, update
from sqlalchemy.sql.expression import ColumnElement

from outlast.store.checkpoints import checkpoints
from outlast.store.driver import Part, Query, Row, Statement, Transaction, TransactionResult
from outlast.store.executions.steps import without_content
from outlast.store.executions.tables import events, execution_metadata, executions, steps
from outlast.store.idempotency import idempotency
from outlast.store.tasks.rows import tasks
from outlast.store.waits.rows import waits

ROWS: Final = 500
"""Rows that one transaction deletes or strips, at most."""
EXECUTIONS: Final = 50
"""Executions that one transaction locks, at most."""
_PAGE: Final = 20
"""Steps that are read at once."""

CONTENT: Final = (events, checkpoints, waits, idempotency, tasks, execution_metadata)
"""Tables that hold only content; steps stay, without content."""

PURGE_CONTENT: Final = tuple(
    Statement(delete(table).where(table.c.execution_id == bindparam("id"))) for table in CONTENT
)

_MANY: Final = (
    (events, events.c.seq),
    (checkpoints, checkpoints.c.id),
    (waits, waits.c.tool_call_id),
)
"""Tables of which an execution may have any number of rows, each with the rest of its key."""

PURGE_SOME: Final = tuple(
    Statement(
        delete(table)
        .where(
            table.c.execution_id == bindparam("id"),
            key.in_(
                select(key)
                .where(table.c.execution_id == bindparam("id"))
                .order_by(key)
                .limit(bindparam("limit"))
            ),
        )
        .returning(key)
    )
    for table, key in _MANY
)

of_conversation: Final = (
    executions.c.workspace_id == bindparam("workspace"),
    executions.c.conversation_id == bindparam("conversation"),
)
"""The turns of a conversation."""
_root: Final = executions.alias("root")
below_conversation: Final = (
    executions.c.root_id.in_(
        select(_root.c.id).where(
            _root.c.workspace_id == bindparam("workspace"),
            _root.c.conversation_id == bindparam("conversation"),
            _root.c.children > literal_column("0"),
        )
    ),
)
"""What the turns have called, on all levels."""
OF_TREES: Final = (of_conversation, below_conversation)


def _purging(*where: ColumnElement[bool]) -> Statement:
    return Statement(
        select(executions.c.id)
        .where(*where, text("purging"))
        .order_by(executions.c.id)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
    )


PURGING: Final = _purging()
"""Of all workspaces: purged executions that have content left in other tables.

Two concurrent processes take different ones.
"""

PURGING_OF: Final = tuple(_purging(*where) for where in OF_TREES)
"""The same of one conversation."""

PURGED: Final = Statement(
    update(executions).where(executions.c.id == bindparam("given_id")).values(purging=False)
)


def _size(table: Any) -> Any:
    """Return how many rows an execution has in a table, counted up to `most`."""
    some = (
        select(literal_column("1"))
        .select_from(table)
        .where(table.c.execution_id == bindparam("id"))
        .limit(bindparam("most"))
        .subquery("page")
    )
    return select(func.count()).select_from(some).scalar_subquery()


SIZES: Final = Statement(select(*(_size(table) for table in (steps, *CONTENT))))
"""Selects how many rows an execution has in each table, counted up to `most`."""

STEPS_TO_STRIP: Final = Statement(
    select(steps.c.number, steps.c.kind, steps.c.data)
    .where(steps.c.execution_id == bindparam("id"), steps.c.number > bindparam("behind"))
    .order_by(steps.c.number)
    .limit(bindparam("limit"))
)
"""Steps to strip, superseded ones too; the execution was reached through its workspace."""

STRIP_STEP: Final = Statement(
    update(steps)
    .where(steps.c.execution_id == bindparam("given_id"), steps.c.number == bindparam("given"))
    .values(data=bindparam("new_data"))
)


@dataclass(frozen=True, slots=True)
class OfConversation:
    """The conversation whose executions are purged."""

    workspace_id: str
    id: str


def purge(
    of: OfConversation | None = None, *, limit: int = EXECUTIONS, erase: bool = False
) -> Transaction[int]:
    """Delete some content of purged executions, of one conversation or of all workspaces.

    Return how many executions were finished, at least 1 while content is left; 0 at the end.
    `erase`: what was deleted is erased from the database's files at once.
    """
    found = yield from _found(of, limit)
    done, left = 0, ROWS
    for (execution_id,) in found:
        (sizes,) = yield Query(SIZES, {"id": execution_id, "most": ROWS + 1})
        left -= sum(sizes)
        if left < 0 and done:
            break
        if left < 0 and (yield from _purge_some(execution_id)):
            break
        for statement, rows in zip(PURGE_CONTENT, sizes[1:], strict=True):
            if rows:
                yield Query(statement, {"id": execution_id})
        yield from _strip_steps(execution_id, ROWS)
        yield Query(PURGED, {"given_id": execution_id})
        done += 1
    return TransactionResult(max(done, int(bool(found))), erased=erase and bool(found))


def _found(of: OfConversation | None, limit: int) -> Part[list[Row]]:
    """Lock and return some of the executions with content left."""
    if of is None:
        return (yield Query(PURGING, {"limit": limit}))
    own = {"workspace": of.workspace_id, "conversation": of.id, "limit": limit}
    found: list[Row] = []
    for statement in PURGING_OF:
        found += yield Query(statement, own)
    return found


def _purge_some(execution_id: str) -> Part[bool]:
    """Delete as many rows of a large execution as one transaction may; return whether more stay."""
    left = ROWS - (yield from _strip_steps(execution_id, ROWS))
    for statement in PURGE_SOME:
        if left:
            left -= len((yield Query(statement, {"id": execution_id, "limit": left})))
    return not left


def _strip_steps(execution_id: str, most: int) -> Part[int]:
    """Remove the content of up to `most` steps, and return of how many; kind and usage stay."""
    stripped, behind = 0, 0
    while stripped < most:
        size = min(_PAGE, most - stripped)
        of_page = {"id": execution_id, "behind": behind, "limit": size}
        page = yield Query(STEPS_TO_STRIP, of_page)
        for number, kind, data in page:
            if (new_data := without_content(kind, data)) is not None:
                given = {"given_id": execution_id, "given": number, "new_data": new_data}
                yield Query(STRIP_STEP, given)
                stripped += 1
        if len(page) < size:
            break
        behind = page[-1][0]
    return stripped
