"""Conversations that are past the retention of their workspace: statements and reads.

A conversation is due once its last activity is as long ago as its workspace keeps conversations,
and nothing of it is live: neither a turn, nor what a turn has called.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.sql.expression import ColumnElement, Select

from outlast.model.retention import DAY_MILLIS, Plans
from outlast.model.workspace import Plan
from outlast.store.conversations.rows import conversations
from outlast.store.driver import (
    BatchStatement,
    Query,
    Row,
    Statement,
    Transaction,
    TransactionResult,
)
from outlast.store.executions.tables import executions
from outlast.store.tables import given
from outlast.store.workspaces import workspaces


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """What is due now, by plan."""

    parameters: dict[str, Any]
    """Parameters of the statements."""

    @classmethod
    def of(cls, plans: Plans, now: int) -> "Cutoffs":
        """Return the cutoffs at a time in milliseconds since the epoch."""
        moments = {plan: plans.days[plan] for plan in Plan}
        return cls(
            {"now": now}
            | {
                plan.value: _NEVER if days is None else now - days * DAY_MILLIS
                for plan, days in moments.items()
            }
        )


@dataclass(frozen=True, slots=True)
class DueConversation:
    """A conversation that is due."""

    workspace_id: str
    id: str
    turns: int


@dataclass(frozen=True, slots=True)
class DueCount:
    """How much of one workspace is due."""

    workspace: str
    """The workspace's name."""
    plan: Plan
    conversations: int
    turns: int
    oldest: int
    """Last activity of the one that is due longest."""


_NEVER: Final = -1
"""A cutoff before all times."""


def _moment(name: str) -> ColumnElement[int]:
    return cast(bindparam(name), BigInteger)


_MOMENTS: Final = ("now", *(plan.value for plan in Plan))


def _cutoff_of(moments: Mapping[str, ColumnElement[int]]) -> ColumnElement[int]:
    """Return the time of which, or before, a conversation's last activity must be to be due.

    The later of both moments: a workspace's own retention can only shorten its plan's.
    """
    of_plan = case(
        *(
            (workspaces.c.plan == literal_column(f"'{plan}'"), moments[plan.value])
            for plan in Plan
            if plan is not Plan.ENTERPRISE
        ),
        else_=moments[Plan.ENTERPRISE.value],
    )
    own = moments["now"] - workspaces.c.retention_days * literal_column(str(DAY_MILLIS))
    return case((own > of_plan, own), else_=of_plan)


_cutoff: Final = _cutoff_of({name: _moment(name) for name in _MOMENTS})

_oldest: Final = (
    select(func.min(conversations.c.last_active_at))
    .where(conversations.c.workspace_id == workspaces.c.id)
    .scalar_subquery()
)

DUE_WORKSPACES: Final = Statement(
    select(workspaces.c.id, workspaces.c.name, workspaces.c.plan, _cutoff)
    .where(_oldest <= _cutoff)
    .order_by(workspaces.c.id)
)
"""Selects workspaces that may have something due, each with its cutoff: one look into an index for
each workspace."""

_child: Final = executions.alias("child")


def _none(found: Select[Any]) -> ColumnElement[bool]:
    """Return whether nothing is found; looked up by index for each row, never joined."""
    return found.limit(literal_column("1")).scalar_subquery().is_(None)


_at_rest: Final = (
    _none(
        select(executions.c.id).where(
            executions.c.workspace_id == conversations.c.workspace_id,
            executions.c.conversation_id == conversations.c.id,
            executions.c.completed_at.is_(None),
        )
    ),
    _none(
        select(_child.c.id)
        .join(executions, executions.c.id == _child.c.root_id)
        .where(
            executions.c.workspace_id == conversations.c.workspace_id,
            executions.c.conversation_id == conversations.c.id,
            executions.c.children > literal_column("0"),
            _child.c.completed_at.is_(None),
        )
    ),
)
"""Neither a turn nor what a turn has called is live."""

_due: Final = (
    conversations.c.workspace_id == bindparam("workspace"),
    conversations.c.last_active_at <= bindparam("due_before"),
    *_at_rest,
)

DUE_CONVERSATIONS: Final = Statement(
    select(conversations.c.id, conversations.c.turns)
    .where(*_due)
    .order_by(conversations.c.last_active_at, conversations.c.id)
    .limit(bindparam("limit"))
)

_some_due: Final = (
    select(conversations.c.id).where(*_due).limit(bindparam("limit")).subquery("page")
)

COUNT_DUE: Final = Statement(select(func.count()).select_from(_some_due))
"""Counts what is due, up to a bound."""

SUM_DUE: Final = Statement(
    select(
        func.count(),
        func.coalesce(func.sum(conversations.c.turns), literal_column("0")),
        func.min(conversations.c.last_active_at),
    ).where(*_due)
)

_lock_due: Final = select(conversations.c.workspace_id, conversations.c.id)
_given: Final = given(
    conversation=Text(), workspace=Text(), **dict.fromkeys(_MOMENTS, BigInteger())
)

LOCK_DUE: Final = BatchStatement(
    _lock_due.where(
        conversations.c.id == bindparam("conversation"),
        conversations.c.workspace_id == bindparam("workspace"),
        conversations.c.last_active_at
        <= select(_cutoff).where(workspaces.c.id == bindparam("workspace")).scalar_subquery(),
    ).with_for_update(skip_locked=True),
    arrays=_lock_due.select_from(_given)
    .join(
        conversations,
        and_(
            conversations.c.id == _given.c.conversation,
            conversations.c.workspace_id == _given.c.workspace,
        ),
    )
    .join(workspaces, workspaces.c.id == conversations.c.workspace_id)
    .where(
        conversations.c.last_active_at <= _cutoff_of({name: _given.c[name] for name in _MOMENTS})
    )
    .with_for_update(of=conversations, skip_locked=True),
)
"""Locks conversations that are past their workspace's retention; no row of one that is not, any
more, or that another transaction has."""


def read_due(cutoffs: Cutoffs, limit: int) -> Transaction[list[DueConversation]]:
    """Read up to `limit` conversations of any workspace that are due."""
    found: list[DueConversation] = []
    for workspace_id, _, _, before in (yield Query(DUE_WORKSPACES, cutoffs.parameters)):
        if len(found) == limit:
            break
        of = {"workspace": workspace_id, "due_before": before, "limit": limit - len(found)}
        rows = yield Query(DUE_CONVERSATIONS, of)
        found += (DueConversation(workspace_id, *row) for row in rows)
    return TransactionResult(found)


def count_due(cutoffs: Cutoffs, most: int) -> Transaction[int]:
    """Count the conversations that are due, up to `most`."""
    counted = 0
    for workspace_id, _, _, before in (yield Query(DUE_WORKSPACES, cutoffs.parameters)):
        if counted >= most:
            break
        of = {"workspace": workspace_id, "due_before": before, "limit": most - counted}
        ((more,),) = yield Query(COUNT_DUE, of)
        counted += more
    return TransactionResult(counted)


def count_inactive(workspace_id: str, now: int, days: int) -> Transaction[int]:
    """Count the conversations of a workspace that are due if it keeps them for so many days."""
    of = {"workspace": workspace_id, "due_before": now - days * DAY_MILLIS}
    ((number, _, _),) = yield Query(SUM_DUE, of)
    return TransactionResult(int(number))


def sum_due(cutoffs: Cutoffs) -> Transaction[Sequence[DueCount]]:
    """Count what is due in each workspace that has anything due."""
    found: list[DueCount] = []
    workspaces_due: list[Row] = yield Query(DUE_WORKSPACES, cutoffs.parameters)
    for workspace_id, name, plan, before in workspaces_due:
        of = {"workspace": workspace_id, "due_before": before}
        ((number, turns, oldest),) = yield Query(SUM_DUE, of)
        if number:
            found.append(DueCount(name, Plan(plan), number, int(turns), oldest))
    return TransactionResult(found)
