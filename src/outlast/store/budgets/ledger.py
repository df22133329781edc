"""What the ledger says that an owner has spent, for a budget that begins within its period."""

from typing import Any, Final

from sqlalchemy import BigInteger, Select, Table, bindparam, cast, func, or_, select, union_all
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.budget import Amounts, BudgetKind
from outlast.model.consumption import HOUR_MILLIS
from outlast.store.charges import charges
from outlast.store.driver import Part, Query, Statement
from outlast.store.executions.tables import executions
from outlast.store.usage import summed_until, usage_hours

_START: Final = bindparam("start", type_=BigInteger)
_WHOLE: Final = bindparam("whole", type_=BigInteger)
"""The first whole hour behind the start."""


def _figures(table: Table) -> Any:
    return (
        (table.c.input_tokens + table.c.output_tokens).label("tokens"),
        table.c.credits.label("credits"),
    )


def _sum(found: Select[Any] | Any) -> Statement:
    used = found.subquery("used")
    sums = (
        cast(func.coalesce(func.sum(used.c[name]), 0), BigInteger) for name in ("tokens", "credits")
    )
    return Statement(select(*sums))


def _of_workspace(*, of_key: bool) -> Statement:
    """Sums of past hours, and the charges around them."""
    workspace: ColumnElement[str] = bindparam("workspace")
    until = summed_until(workspace)
    hours = select(*_figures(usage_hours)).where(
        usage_hours.c.workspace_id == workspace, usage_hours.c.hour >= _WHOLE
    )
    single = select(*_figures(charges)).where(
        charges.c.workspace_id == workspace,
        charges.c.at >= _START,
        or_(charges.c.at < _WHOLE, charges.c.at >= until),
    )
    if of_key:
        hours = hours.where(usage_hours.c.key_id == bindparam("of_owner"))
        single = single.where(charges.c.key_id == bindparam("of_owner"))
    return _sum(union_all(hours, single))


_turn: Final = executions.alias("turn")
_turns: Final = select(_turn.c.id).where(
    _turn.c.workspace_id == bindparam("workspace"),
    _turn.c.conversation_id == bindparam("of_owner"),
)
_called: Final = select(executions.c.id).where(executions.c.root_id.in_(_turns))
_tree: Final = union_all(_turns, _called).subquery("tree")
"""The executions of a conversation, and all that they have called."""

SPENT_BY_WORKSPACE: Final = _of_workspace(of_key=False)
SPENT_BY_KEY: Final = _of_workspace(of_key=True)
SPENT_BY_CONVERSATION: Final = _sum(
    select(*_figures(charges)).where(
        charges.c.execution_id.in_(select(_tree.c.id)),
        charges.c.at >= _START,
    )
)
"""Without executions that are deleted since."""
_BY_KIND: Final = {
    BudgetKind.WORKSPACE: SPENT_BY_WORKSPACE,
    BudgetKind.KEY: SPENT_BY_KEY,
    BudgetKind.CONVERSATION: SPENT_BY_CONVERSATION,
}


def spent_since(owner: str, workspace_id: str, start: int) -> Part[Amounts]:
    """Return the tokens and credits that were charged since this moment."""
    whole = -(-start // HOUR_MILLIS) * HOUR_MILLIS
    given = {"workspace": workspace_id, "of_owner": owner, "start": start, "whole": whole}
    ((tokens, credits_),) = yield Query(_BY_KIND[BudgetKind.of(owner)], given)
    return Amounts(tokens, credits_, 0)
