"""Deletes the content of purged executions, a bounded number of rows in a transaction.

Executions with `purging` have content left in other tables. That flag is the whole state of the
work: after a crash whoever runs next continues with what is left.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Text,
    any_,
    bindparam,
    cast,
    delete,
    false,
    func,
    literal_column,
    select,
    text,
    true,
    update,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.store.blobs import blob_refs, forget_blobs, forget_some_blobs
from outlast.store.checkpoints import checkpoints
from outlast.store.driver import (
    Batch,
    BatchStatement,
    Part,
    Query,
    Row,
    Statement,
    Transaction,
    TransactionResult,
)
from outlast.store.executions.browsers import browsers
from outlast.store.executions.steps import without_content
from outlast.store.executions.tables import events, execution_metadata, executions, steps
from outlast.store.idempotency import idempotency
from outlast.store.tables import given
from outlast.store.tasks.rows import tasks
from outlast.store.waits.rows import waits


class Amount(NamedTuple):
    """What one transaction deletes or strips, at most."""

    executions: int
    rows: int


MANY: Final = Amount(50, 500)
FEW: Final = Amount(2, 50)
"""Where all other writes wait for it."""
_PAGE: Final = 20
"""Steps of one execution that are read at once."""
_TOGETHER: Final = 10
"""Executions of which steps are read at once."""

_BLOB: Final = 10
"""Rows as which one image counts: its bytes are many pages."""
CONTENT: Final = (events, checkpoints, waits, idempotency, tasks, execution_metadata, browsers)
"""Tables that hold only content; steps stay, without content."""

_ids: Final = any_(cast(bindparam("id"), ARRAY(Text())))

PURGE_CONTENT: Final = tuple(
    BatchStatement(
        delete(table).where(table.c.execution_id == bindparam("id")),
        arrays=delete(table).where(table.c.execution_id == _ids),
    )
    for table in CONTENT
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

_workspace: Final = bindparam("workspace", type_=Text())
_conversation: Final = bindparam("conversation", type_=Text())


def _turns_of(
    table: Any, workspace: ColumnElement[str], conversation: ColumnElement[str]
) -> tuple[ColumnElement[bool], ...]:
    return (table.c.workspace_id == workspace, table.c.conversation_id == conversation)


of_conversation: Final = _turns_of(executions, _workspace, _conversation)
"""The turns of a conversation."""
root: Final = executions.alias("root")
_calling: Final = root.c.children > literal_column("0")
below_conversation: Final = (
    executions.c.root_id.in_(
        select(root.c.id).where(*_turns_of(root, _workspace, _conversation), _calling)
    ),
)
"""What the turns have called, on all levels."""
OF_TREES: Final = (of_conversation, below_conversation)

of_conversations: Final = given(workspace=Text(), conversation=Text(), at=BigInteger())
"""The same of many, on Postgres."""
OF_MANY_TREES: Final = (
    _turns_of(executions, of_conversations.c.workspace, of_conversations.c.conversation),
    (
        *_turns_of(root, of_conversations.c.workspace, of_conversations.c.conversation),
        _calling,
        executions.c.root_id == root.c.id,
    ),
)


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

_purged: Final = update(executions).values(purging=false())

PURGED: Final = BatchStatement(
    _purged.where(executions.c.id == bindparam("given_id")),
    arrays=_purged.where(executions.c.id == any_(cast(bindparam("given_id"), ARRAY(Text())))),
)

_given: Final = given(id=Text())


def _size(table: Any, execution_id: ColumnElement[str]) -> Any:
    """Return how many rows an execution has in a table, counted up to one more than MANY."""
    some = (
        select(literal_column("1"))
        .select_from(table)
        .where(table.c.execution_id == execution_id)
        .limit(literal_column(str(MANY.rows + 1)))
        .correlate(_given)
        .subquery("page")
    )
    return select(func.count()).select_from(some).scalar_subquery()


_OWNED: Final = (steps, *CONTENT)
_IMAGES: Final = len(_OWNED)
"""Place of the images in `SIZES`, behind the tables."""
_one: Final = bindparam("id", type_=Text())

SIZES: Final = BatchStatement(
    select(_one, *(_size(table, _one) for table in (*_OWNED, blob_refs))),
    arrays=select(_given.c.id, *(_size(table, _given.c.id) for table in (*_OWNED, blob_refs))),
)
"""Selects an execution's id, and how many rows it has in each table, up to one more than MANY."""

_step: Final = select(steps.c.execution_id, steps.c.number, steps.c.kind, steps.c.data)
_limits: Final = given(limit=BigInteger())
_behind: Final = given(id=Text(), behind=BigInteger())
_page: Final = (
    select(steps.c.number, steps.c.kind, steps.c.data)
    .where(steps.c.execution_id == _behind.c.id, steps.c.number > _behind.c.behind)
    .order_by(steps.c.number)
    .limit(select(func.max(_limits.c.limit)).scalar_subquery())
    .lateral("page")
)

STEPS_TO_STRIP: Final = BatchStatement(
    _step.where(steps.c.execution_id == bindparam("id"), steps.c.number > bindparam("behind"))
    .order_by(steps.c.number)
    .limit(bindparam("limit")),
    arrays=select(_behind.c.id, _page.c.number, _page.c.kind, _page.c.data)
    .join(_page, true())
    .order_by(_behind.c.id, _page.c.number),
)
"""Selects the next steps of each, superseded ones too; they were reached through the workspace."""

_bare: Final = given(given_id=Text(), given=BigInteger(), new_data=steps.c.data.type)

STRIP_STEP: Final = BatchStatement(
    update(steps)
    .where(steps.c.execution_id == bindparam("given_id"), steps.c.number == bindparam("given"))
    .values(data=bindparam("new_data")),
    arrays=update(steps)
    .where(steps.c.execution_id == _bare.c.given_id, steps.c.number == _bare.c.given)
    .values(data=_bare.c.new_data),
)


@dataclass(frozen=True, slots=True)
class OfConversation:
    """The conversation whose executions are purged."""

    workspace_id: str
    id: str


def purge(
    of: OfConversation | None = None, *, most: Amount = MANY, erase: bool = False
) -> Transaction[int]:
    """Delete some content of purged executions, of one conversation or of all workspaces.

    Return how many executions were finished, at least 1 while content is left; 0 at the end.
    `erase`: what was deleted is erased from the database's files at once.
    """
    found = [row[0] for row in (yield from _found(of, most.executions))]
    if not found:
        return TransactionResult(0)
    sizes = {row[0]: row[1:] for row in (yield Batch(SIZES, _each(found)))}
    some = _bounded(found, sizes, most.rows)
    if not some:
        some = found[:1]
        if (yield from _purge_some(found[0], most.rows)):
            return TransactionResult(1, erased=erase)
    for place, statement in enumerate(PURGE_CONTENT, 1):
        if ids := [one for one in some if sizes[one][place]]:
            yield Batch(statement, _each(ids))
    if ids := [one for one in some if sizes[one][_IMAGES]]:
        yield from forget_blobs(ids)
    yield from _strip_steps([one for one in some if sizes[one][0]], most.rows)
    yield Batch(PURGED, tuple({"given_id": one} for one in some))
    return TransactionResult(len(some), erased=erase)


def _each(ids: Iterable[str]) -> tuple[dict[str, Any], ...]:
    return tuple({"id": one} for one in ids)


def _bounded(found: Sequence[str], sizes: Mapping[str, Sequence[int]], most: int) -> list[str]:
    """Return the first of them, as far as one transaction may delete their rows together."""
    some: list[str] = []
    rows = 0
    for one in found:
        rows += sum(sizes[one]) + (_BLOB - 1) * sizes[one][_IMAGES]
        if rows > most:
            break
        some.append(one)
    return some


def _found(of: OfConversation | None, limit: int) -> Part[list[Row]]:
    """Lock and return some of the executions with content left."""
    if of is None:
        return (yield Query(PURGING, {"limit": limit}))
    own = {"workspace": of.workspace_id, "conversation": of.id, "limit": limit}
    found: list[Row] = []
    for statement in PURGING_OF:
        found += yield Query(statement, own)
    return found


def _purge_some(execution_id: str, most: int) -> Part[bool]:
    """Delete at most so many rows of a large execution; return whether more may be left."""
    left = most - (yield from _strip_steps([execution_id], most))
    for statement in PURGE_SOME:
        if left:
            left -= len((yield Query(statement, {"id": execution_id, "limit": left})))
    some = max(1, left // _BLOB)
    return not left or (yield from forget_some_blobs(execution_id, some)) >= some


def _strip_steps(ids: Iterable[str], most: int) -> Part[int]:
    """Remove the content of up to `most` steps, and return of how many; kind and usage stay.

    All of several executions have at most so many.
    """
    stripped, behind = 0, dict.fromkeys(ids, 0)
    while behind and stripped < most:
        size = min(_PAGE, most - stripped)
        some = list(islice(behind.items(), _TOGETHER))
        pages = tuple({"id": one, "behind": number, "limit": size} for one, number in some)
        rows = yield Batch(STEPS_TO_STRIP, pages)
        bare = [
            {"given_id": one, "given": number, "new_data": new_data}
            for one, number, kind, data in rows
            if (new_data := without_content(kind, data)) is not None
        ]
        if bare:
            yield Batch(STRIP_STEP, tuple(bare))
        stripped += len(bare)
        read = Counter(row[0] for row in rows)
        behind |= {row[0]: row[1] for row in rows}
        for one, _ in some:
            if read[one] < size:
                del behind[one]
    return stripped
