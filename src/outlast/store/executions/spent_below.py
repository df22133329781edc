"""What the executions below one have spent, summed from their rows when it is read.

So it is exact at any moment, and nothing has to be kept in step: see
docs/decisions/child-executions.md. A deleted child leaves what it has spent with its parent.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import orjson
from sqlalchemy import bindparam, case, func, literal_column, select, update
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.event import Ended
from outlast.model.execution import Execution
from outlast.model.usage import NOTHING_SPENT, Spent, Usage
from outlast.store.driver import Part, Query, Row, Statement, Together, Transaction
from outlast.store.driver import TransactionResult as Result
from outlast.store.executions.below import ALL_BELOW_IDS
from outlast.store.executions.statements import OWNED
from outlast.store.executions.tables import executions
from outlast.store.tables import to_json


def _sum(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(func.sum(value), literal_column("0"))


SPENT_BELOW: Final = Statement(
    select(
        _sum(executions.c.input_tokens),
        _sum(executions.c.output_tokens),
        _sum(executions.c.cache_read_tokens),
        _sum(executions.c.cache_write_tokens),
        _sum(case((executions.c.usage_estimated, literal_column("1")), else_=literal_column("0"))),
        _sum(executions.c.credits),
    ).where(executions.c.id.in_(ALL_BELOW_IDS))
)
"""Selects the sums over all descendants of an execution, superseded ones too."""

SPENT_BY_DELETED: Final = Statement(
    select(executions.c.deleted_spent).where(
        executions.c.deleted_spent.is_not(None),
        executions.c.id.in_(ALL_BELOW_IDS.union_all(select(OWNED))),
    )
)
"""Selects what deleted children have spent, of an execution and of those below it."""

KEEP_SPENT: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("given_id"),
        executions.c.workspace_id == bindparam("workspace"),
    )
    .values(deleted_spent=bindparam("new_spent"))
)
"""The row is locked."""

DELETED_SPENT: Final = Statement(
    select(executions.c.deleted_spent).where(
        executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace")
    )
)
"""The row is locked."""


def spent_below(workspace_id: str, execution_id: str) -> Part[Spent]:
    """Return what the descendants of an execution have spent, deleted ones included."""
    of = {"workspace": workspace_id, "id": execution_id}
    sums, gone = yield Together((Query(SPENT_BELOW, of), Query(SPENT_BY_DELETED, of)))
    return _spent(sums[0], gone)


def read_spent_below(
    workspace_id: str, execution_ids: Sequence[str]
) -> Transaction[dict[str, Spent]]:
    """Read the same of each of these."""
    return Result((yield from spent_below_each(workspace_id, execution_ids)))


def spent_below_each(workspace_id: str, execution_ids: Sequence[str]) -> Part[dict[str, Spent]]:
    """Return what the descendants of each of these have spent."""
    queries: list[Query] = []
    for execution_id in execution_ids:
        of = {"workspace": workspace_id, "id": execution_id}
        queries += (Query(SPENT_BELOW, of), Query(SPENT_BY_DELETED, of))
    answers = (yield Together(tuple(queries))) if queries else []
    found = zip(execution_ids, answers[::2], answers[1::2], strict=True)
    return {one: _spent(sums[0], gone) for one, sums, gone in found}


def _spent(sums: Row, gone: Sequence[Row]) -> Spent:
    read, written, hits, stored, estimated, credits_ = (int(one) for one in sums)
    total = Spent(Usage(read, written, hits, stored, estimated > 0), credits_)
    for (deleted,) in gone:
        total += Spent.of(orjson.loads(deleted))
    return total


def with_spent(execution: Execution, ended: Ended) -> Part[Ended]:
    """Return the event of an execution's end with what those below have spent by then."""
    if not execution.children:
        return ended
    found = yield from spent_below(execution.workspace_id, execution.id)
    return replace(ended, below=found.fields)


def keep_spent(execution: Execution) -> Part[None]:
    """Leave what an execution that is to be deleted has spent with its parent, whose row is locked.

    All of a tree that goes with its root is gone.
    """
    if execution.parent_id is None:
        return
    below = yield from spent_below(execution.workspace_id, execution.id)
    spent = Spent(execution.usage, execution.credits) + below
    if spent == NOTHING_SPENT:
        return
    of = {"workspace": execution.workspace_id, "id": execution.parent_id}
    for (before,) in (yield Query(DELETED_SPENT, of)):
        total = spent if before is None else spent + Spent.of(orjson.loads(before))
        kept = {"given_id": execution.parent_id, "new_spent": to_json(total.fields)}
        yield Query(KEEP_SPENT, kept | {"workspace": execution.workspace_id})
