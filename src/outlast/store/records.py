"""Reads executions, steps and charges as nodes of a tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import CTE, FromClause, Select, Text, bindparam, cast, func, select, union_all
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.error import ExecutionNotFound
from outlast.model.execution import Execution
from outlast.model.record import (
    Branch,
    ClosedRecord,
    ExecutionRecord,
    Outline,
    Placed,
    Record,
    RecordId,
    StepRecord,
    Tree,
    shown_of,
    tree_of,
)
from outlast.model.record import Part as RecordPart
from outlast.store.charges import charge_from, charges
from outlast.store.driver import (
    Driver,
    Part,
    Query,
    Row,
    Statement,
    Together,
    Transaction,
    TransactionResult,
)
from outlast.store.executions.lists import LISTED, LONGEST, listed_from
from outlast.store.executions.partial import execution_or_part
from outlast.store.executions.rows import execution_of
from outlast.store.executions.statements import EXECUTION, OWNED
from outlast.store.executions.steps import STEP_COLUMNS, step_of, without_content
from outlast.store.executions.tables import executions, steps


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of executions, newest first: those of some agents, or of all."""

    limit: int
    offset: int
    agent_ids: Sequence[str] = ()
    """Without duplicates."""


_WORKSPACE: Final = executions.c.workspace_id == bindparam("workspace")

_cost: Final = func.coalesce(charges.c.credits, 0)

_step: Final = (*STEP_COLUMNS, steps.c.superseded, _cost)

_charge: Final = (
    charges.c.id,
    charges.c.step,
    charges.c.kind,
    charges.c.name,
    charges.c.input_tokens,
    charges.c.output_tokens,
    charges.c.credits,
    charges.c.at,
)

_steps_charged: Final = steps.outerjoin(
    charges,
    (charges.c.execution_id == steps.c.execution_id) & (charges.c.id == steps.c.id),
)


def _page(agents: int) -> Select[tuple[str]]:
    """Select the ids of a page; for several agents the newest of each are merged."""
    newest = executions.c.id.desc()
    ids = select(executions.c.id).where(_WORKSPACE)
    if agents > 1:
        each = (
            ids.where(executions.c.agent_id == bindparam(f"agent{number}"))
            .order_by(newest)
            .limit(bindparam("reach"))
            .subquery(f"of{number}")
            for number in range(agents)
        )
        merged = union_all(*(select(one.c.id) for one in each)).subquery("merged")
        ids, newest = select(merged.c.id), merged.c.id.desc()
    elif agents:
        ids = ids.where(executions.c.agent_id == bindparam("agent0"))
    return ids.order_by(newest).limit(bindparam("limit")).offset(bindparam("offset"))


def _tree(roots: FromClause) -> CTE:
    """Select (root, id, credits) of these executions and all their descendants."""
    tree = (
        select(roots.c.id.label("root"), roots.c.id, executions.c.credits)
        .join(executions, executions.c.id == roots.c.id)
        .cte("tree", recursive=True)
    )
    child = executions.alias("child")
    return tree.union_all(
        select(tree.c.root, child.c.id, child.c.credits).where(
            child.c.parent_id == tree.c.id, child.c.workspace_id == bindparam("workspace")
        )
    )


def _sums(tree: CTE) -> Statement:
    return Statement(select(tree.c.root, func.sum(tree.c.credits)).group_by(tree.c.root))


@cache
def executions_of_page(agents: int) -> Statement:
    """Select executions, newest first, of all agents or of `agents`: ids by an index, then rows."""
    return Statement(
        LISTED.where(executions.c.id.in_(_page(agents))).order_by(executions.c.id.desc())
    )


@cache
def sums_of_page(agents: int) -> Statement:
    """Select (id, credits of the subtree) of the same executions."""
    return _sums(_tree(_page(agents).subquery("page")))


_root: Final = (
    select(executions.c.id).where(executions.c.id == bindparam("id"), _WORKSPACE).subquery("root")
)

_below: Final = _tree(_root)

SUM: Final = _sums(_below)
"""Selects (id, credits of the subtree) of one execution."""

TREE: Final = Statement(select(*executions.c).join(_below, _below.c.id == executions.c.id))
"""Selects an execution and all its descendants; reached through its workspace."""

TREE_STEPS: Final = Statement(
    select(*_step).select_from(_below.join(_steps_charged, steps.c.execution_id == _below.c.id))
)
"""Selects their steps with costs, superseded ones too; unordered, as sorting would cost a scan."""

TREE_CLOSED: Final = Statement(
    select(charges.c.execution_id, *_charge)
    .join(_below, _below.c.id == charges.c.execution_id)
    .where(charges.c.step.is_(None))
)
"""Selects their model requests aborted by a pause; unordered."""


def _owned(execution_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Applied last so the planner does not start from the workspace index."""
    return select(executions.c.id).where(executions.c.id == execution_id, _WORKSPACE).exists()


_sizes: Final = func.length(executions.c.input) + func.coalesce(func.length(executions.c.output), 0)
_size_of_steps: Final = (
    select(func.coalesce(func.sum(func.length(cast(steps.c.data, Text))), 0))
    .where(steps.c.execution_id == executions.c.id)
    .correlate(executions)
    .scalar_subquery()
)

OUTLINE: Final = Statement(
    select(
        executions.c.id,
        executions.c.parent_id,
        executions.c.created_at,
        executions.c.credits,
        _sizes + _size_of_steps,
    ).join(_below, _below.c.id == executions.c.id)
)
"""Selects the places of an execution and all its descendants, and how long their content is."""

BRANCH_STEPS: Final = Statement(
    select(*_step).select_from(_steps_charged).where(steps.c.execution_id == OWNED)
)
"""Selects the steps of one execution with costs, superseded ones too."""

BRANCH_CLOSED: Final = Statement(
    select(charges.c.execution_id, *_charge).where(
        charges.c.execution_id == OWNED, charges.c.step.is_(None)
    )
)
"""Selects the model requests of one execution that a pause has aborted."""

STEP: Final = Statement(
    select(*_step)
    .select_from(_steps_charged)
    .where(steps.c.id == bindparam("step_id"), _owned(steps.c.execution_id))
)
"""Selects a step with its cost."""

CLOSED: Final = Statement(
    select(charges.c.execution_id, *_charge).where(
        charges.c.id == bindparam("step_id"),
        charges.c.step.is_(None),
        _owned(charges.c.execution_id),
    )
)
"""Selects a model request aborted by a pause, if its execution exists."""


def _read_page(workspace_id: str, page: RecordPage) -> Transaction[list[ExecutionRecord]]:
    """Read a page, and the cost of each subtree."""
    agents = len(page.agent_ids)
    given: dict[str, Any] = {
        "workspace": workspace_id,
        "limit": page.limit,
        "offset": page.offset,
        "reach": page.offset + page.limit,
        **{f"agent{number}": agent_id for number, agent_id in enumerate(page.agent_ids)},
    }
    rows = yield Query(executions_of_page(agents), given | {"longest": LONGEST + 1})
    sums = yield Query(sums_of_page(agents), given)
    credits_of = {row[0]: int(row[1]) for row in sums}
    found = [listed_from(row) for row in rows]
    return TransactionResult(
        [
            ExecutionRecord(one.execution, credits_of[one.execution.id], truncated=one.cut)
            for one in found
        ]
    )


def _get(workspace_id: str, wanted: RecordId) -> Transaction[Record]:
    """Read the record with this id."""
    if wanted.execution_id is not None:
        found = yield from _execution(workspace_id, wanted.execution_id)
        if found is not None:
            of_id = {"workspace": workspace_id, "id": found.id}
            ((_, total),) = yield Query(SUM, of_id)
            return TransactionResult(ExecutionRecord(found, int(total)))
    if wanted.step_id is not None:
        of_step = {"workspace": workspace_id, "step_id": wanted.step_id}
        for statement, part_from in ((STEP, _step_from), (CLOSED, _closed_from)):
            rows = yield Query(statement, of_step)
            if rows:
                found = yield from _execution(workspace_id, rows[0][0])
                assert found is not None
                return TransactionResult(part_from(found, rows[0]))
    raise ExecutionNotFound


def _execution(workspace_id: str, execution_id: str) -> Part[Execution | None]:
    owned = {"workspace": workspace_id, "id": execution_id}
    rows = yield Query(EXECUTION, owned)
    return execution_of(rows[0]) if rows else None


def _read_tree(workspace_id: str, execution_id: str) -> Transaction[Tree]:
    """Read an execution with everything under it: three reads, whatever the size."""
    of_id = {"workspace": workspace_id, "id": execution_id}
    rows = yield Query(TREE, of_id)
    if not rows:
        raise ExecutionNotFound
    executions = {row[0]: execution_or_part(row) for row in rows}
    closed = yield Query(TREE_CLOSED, of_id)
    steps = yield Query(TREE_STEPS, of_id)
    parts: list[RecordPart] = [_closed_from(executions[row[0]], row) for row in sorted(closed)]
    parts += [_step_from(executions[row[0]], row) for row in sorted(steps, key=_place)]
    return TransactionResult(tree_of(execution_id, executions.values(), parts))


def _read_outline(workspace_id: str, execution_id: str) -> Transaction[Outline]:
    """Read the places of an execution and of all below it, in one statement."""
    rows = yield Query(OUTLINE, {"workspace": workspace_id, "id": execution_id})
    if not rows:
        raise ExecutionNotFound
    placed = (
        Placed(one, parent_id, began, int(credits_), int(size))
        for one, parent_id, began, credits_, size in rows
    )
    return TransactionResult(Outline(execution_id, tuple(placed)))


def _read_branches(
    workspace_id: str, execution_ids: Sequence[str]
) -> Transaction[dict[str, Branch]]:
    """Read the executions that there are of these, each with its own parts."""
    of_each = [{"workspace": workspace_id, "id": one} for one in execution_ids]
    statements = (EXECUTION, BRANCH_CLOSED, BRANCH_STEPS)
    answers = yield Together(tuple(Query(one, of) for of in of_each for one in statements))
    found: dict[str, Branch] = {}
    for place in range(0, len(answers), len(statements)):
        rows, closed, own = answers[place : place + len(statements)]
        if not rows:
            continue
        execution = execution_or_part(rows[0])
        parts: list[RecordPart] = [_closed_from(execution, row) for row in sorted(closed)]
        parts += [_step_from(execution, row) for row in sorted(own, key=_place)]
        found[execution.id] = Branch(execution, shown_of(parts))
    return TransactionResult(found)


def _place(row: Row) -> Row:
    return row[:2]


def _step_from(execution: Execution, row: Row) -> RecordPart:
    execution_id, number, step_id, kind, data, *times, superseded, cost = row
    if execution.is_purged:  # what a purge has not reached yet is hidden
        data = without_content(kind, data) or data
    step = step_of((execution_id, number, step_id, kind, data, *times))
    return StepRecord(execution, step, cost, bool(superseded))


def _closed_from(execution: Execution, row: Row) -> RecordPart:
    return ClosedRecord(execution, charge_from(row[1:]))


class RecordStore:
    """Records of what was done and its cost. Each read is a snapshot, in a few statements."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def page(self, workspace_id: str, page: RecordPage) -> list[ExecutionRecord]:
        """Return a page of executions."""
        return await self._driver.read(lambda: _read_page(workspace_id, page), snapshot=True)

    async def get(self, workspace_id: str, wanted: RecordId) -> Record:
        """Return one execution, step or closed request. Raises ExecutionNotFound."""
        return await self._driver.read(lambda: _get(workspace_id, wanted), snapshot=True)

    async def tree(self, workspace_id: str, execution_id: str) -> Tree:
        """Return an execution with everything under it. Raises ExecutionNotFound."""
        return await self._driver.read(
            lambda: _read_tree(workspace_id, execution_id), snapshot=True
        )

    async def outline(self, workspace_id: str, execution_id: str) -> Outline:
        """Return the same without content. Raises ExecutionNotFound."""
        return await self._driver.read(
            lambda: _read_outline(workspace_id, execution_id), snapshot=True
        )

    async def branches(self, workspace_id: str, execution_ids: Sequence[str]) -> dict[str, Branch]:
        """Return these executions, each with its own parts; what is gone is left out."""
        return await self._driver.read(
            lambda: _read_branches(workspace_id, execution_ids), snapshot=True
        )
