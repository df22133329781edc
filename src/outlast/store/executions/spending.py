"""What a move of an execution's row does to the budgets that it spends from.

Budgets are locked last, so this is the last part of a transaction.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import orjson
from sqlalchemy import bindparam, func, select

from outlast.model.budget import NO_AMOUNTS, Amounts, Bounds, Reservation
from outlast.model.execution import Budget, Execution, Status
from outlast.model.price import NANO
from outlast.store.budgets.applicable import APPLYING
from outlast.store.budgets.shares import (
    NONE_FULL,
    Applying,
    Change,
    Full,
    change_shares,
    share_of,
)
from outlast.store.budgets.tables import SPEND_TIME
from outlast.store.budgets.write import NewBudget, insert_budget
from outlast.store.driver import Part, Query, Statement
from outlast.store.executions.tables import executions
from outlast.store.executions.values import ActiveTime, Advance
from outlast.store.unreadable import BROKEN

APPLYING_TO: Final = Statement(
    select(
        executions.c.reserved,
        func.coalesce(executions.c.root_id, executions.c.id),
        APPLYING,
    ).where(executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace"))
)
"""Selects what an execution has reserved, its tree and its budgets; its row is locked."""


def spend(
    move: Advance,
    left: Reservation | None,
    applying: str | None,
    *,
    alone: bool = True,
    full: Full = NONE_FULL,
) -> Part[None]:
    """Spend, reserve and release what a move does, behind which `left` is reserved.

    `alone`: no other move of the transaction does so. Raises BudgetRefused, ShareFull.

    The first children of an execution with a budget make it a budget of the tree.
    """
    new = _tree_of(move)
    if applying is None and new is None:
        return
    change = _change(move, left)
    if new is not None:
        yield from insert_budget(new, move.before.spent + change.spent, change.held)
    yield from change_shares(Applying.read(applying), change, alone=alone, full=full)


def _tree_of(move: Advance) -> NewBudget | None:
    """Return the budget of the tree that a move creates; None if it creates none."""
    before = move.before
    if not move.children or before.children or before.root_id is not None:
        return None
    bounds = bounds_of(before.budget)
    if not bounds:
        return None
    spent_millis = move.after.active_ms
    return NewBudget(
        before.id, before.workspace_id, bounds, at=move.after.updated_at, spent_millis=spent_millis
    )


def bounds_of(budget: Budget) -> Bounds:
    """Return the bounds of a request's budget."""
    credits_, seconds = budget.max_credits, budget.max_seconds
    return Bounds(
        budget.max_tokens,
        None if credits_ is None else round(credits_ * NANO),
        budget.max_steps,
        None if seconds is None else round(seconds * 1000),
    )


def _change(move: Advance, left: Reservation | None) -> Change:
    before, after = move.before, move.after
    spent = Amounts(
        sum(charge.usage.total_tokens for charge in move.charges),
        sum(charge.credits for charge in move.charges),
        len(move.steps),
    )
    released, held = _reservations(before.reserved, left)
    at = since = after.updated_at
    runs = before.status is Status.RUNNING and before.segment == after.segment
    if runs and not before.is_client_driven:
        since = max(before.updated_at, move.counted_to)
    return Change(before.tree, at, min(since, at), spent, released, held)


def _reservations(
    before: Reservation | None, after: Reservation | None
) -> tuple[Reservation | None, Reservation | None]:
    """Return what is released and what is newly held."""
    if before == after:
        return None, None
    if before is not None and after is not None and before.calls and after.calls:
        left = before.amounts - after.amounts
        return replace(before, amounts=left), None
    return before, after


def spend_time(active_times: Sequence[ActiveTime]) -> Part[list[int | None]]:
    """Add the time of running segments to budgets that bound it; return what is left of them."""
    left: dict[str, int | None] = {}
    wanted = (
        (budget, active_time) for active_time in active_times for budget in active_time.applying
    )
    for budget, active_time in sorted(wanted, key=lambda pair: pair[0].owner):
        execution = active_time.execution
        given = {
            "of_owner": budget.owner,
            "of_share": share_of(execution.tree, budget.shares),
            "at": active_time.at,
            "since": max(execution.updated_at, active_time.counted_to),
        }
        for (millis,) in (yield Query(SPEND_TIME, given)):
            known = left.get(execution.id)
            left[execution.id] = millis if known is None else min(known, millis or 0)
    return [left.get(active_time.execution.id) for active_time in active_times]


def release(execution: Execution, applying: str | None, at: int) -> Part[None]:
    """Release what a locked execution has reserved, beside other statements on its budgets."""
    if execution.reserved is None:
        return
    change = Change(execution.tree, at, at, NO_AMOUNTS, execution.reserved)
    yield from change_shares(Applying.read(applying), change, alone=False)


def release_all(execution: Execution, at: int) -> Part[None]:
    """Release the same where no statement has said which budgets it spends from.

    What it had reserved: its row may have been written since.
    """
    if execution.reserved is not None:
        yield from _released(execution.workspace_id, execution.id, execution.reserved, at)


def release_unread(workspace_id: str, execution_id: str, at: int) -> Part[None]:
    """Release the same of an execution whose other columns may be unreadable."""
    yield from _released(workspace_id, execution_id, None, at)


def _released(
    workspace_id: str, execution_id: str, reserved: Reservation | None, at: int
) -> Part[None]:
    """Release a reservation; None: the one of the row."""
    rows = yield Query(APPLYING_TO, {"id": execution_id, "workspace": workspace_id})
    for text, tree, applying in rows:
        if reserved is None and text is not None:
            with suppress(*BROKEN):
                reserved = Reservation.from_json(orjson.loads(text))
        if reserved is not None:
            change = Change(tree, at, at, released=reserved)
            yield from change_shares(Applying.read(applying), change, alone=False)
