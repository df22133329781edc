"""Statements on records: pages by number, one node, and all that is under an execution."""

from functools import cache
from typing import Any, Final

from sqlalchemy import CTE, FromClause, Select, bindparam, func, select, union_all
from sqlalchemy.sql.expression import ColumnElement

from outlast.store.charges import charges
from outlast.store.driver import Statement
from outlast.store.executions.steps import STEP_COLUMNS
from outlast.store.executions.tables import executions, steps
from outlast.store.statements.executions import LISTED

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
    """The ids of a page; of several agents the newest of each are merged."""
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
    """(root, id, credits) of these executions and of all below them."""
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
def page_of(agents: int) -> Statement:
    """Executions newest first, of all agents or of so many: their ids by an index, then rows."""
    return Statement(
        LISTED.where(executions.c.id.in_(_page(agents))).order_by(executions.c.id.desc())
    )


@cache
def sums_of_page(agents: int) -> Statement:
    """(id, credits with all below) of the same executions."""
    return _sums(_tree(_page(agents).subquery("page")))


_root: Final = (
    select(executions.c.id).where(executions.c.id == bindparam("id"), _WORKSPACE).subquery("root")
)
_below: Final = _tree(_root)

SUM: Final = _sums(_below)
"""(id, credits with all below) of one execution."""

TREE: Final = Statement(select(*executions.c).join(_below, _below.c.id == executions.c.id))
"""An execution and all below it; reached through its workspace."""

TREE_STEPS: Final = Statement(
    select(*_step).select_from(_below.join(_steps_charged, steps.c.execution_id == _below.c.id))
)
"""Their steps with what each cost, superseded ones too; in no order, which would cost a scan."""

TREE_CLOSED: Final = Statement(
    select(charges.c.execution_id, *_charge)
    .join(_below, _below.c.id == charges.c.execution_id)
    .where(charges.c.step.is_(None))
)
"""Their model requests that a pause has closed; in no order."""


def _owned(execution_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Asked last: the workspace is to find nothing by itself."""
    return select(executions.c.id).where(executions.c.id == execution_id, _WORKSPACE).exists()


STEP: Final = Statement(
    select(*_step)
    .select_from(_steps_charged)
    .where(steps.c.id == bindparam("step_id"), _owned(steps.c.execution_id))
)
"""A step with what it cost."""

CLOSED: Final = Statement(
    select(charges.c.execution_id, *_charge).where(
        charges.c.id == bindparam("step_id"),
        charges.c.step.is_(None),
        _owned(charges.c.execution_id),
    )
)
"""A model request that a pause has closed, as long as its execution is there."""
