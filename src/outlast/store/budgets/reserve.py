"""The transaction that precedes a model request: it reserves what the request may cost."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import bindparam, literal_column, update

from outlast.model.budget import NO_AMOUNTS, Amounts, Bound, BudgetRefused, Reservation
from outlast.model.error import StaleWrite
from outlast.model.execution import Execution
from outlast.store.budgets import joined
from outlast.store.budgets.shares import (
    NONE_FULL,
    Applying,
    Change,
    Full,
    ShareFull,
    Wanted,
    held_in,
    locked_budget,
    moved_locked,
)
from outlast.store.budgets.tables import LEFT, RESERVE_IN_SHARE, RESERVING
from outlast.store.driver import Guarded, Part, Query, Row, Statement, Together, Transaction
from outlast.store.driver import TransactionResult as Result
from outlast.store.executions.tables import executions
from outlast.store.tables import to_json

SET_RESERVED: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("given_id"),
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.status == literal_column("'running'"),
        executions.c.segment == bindparam("given_segment"),
    )
    .values(reserved=bindparam("new_reserved"))
    .returning(executions.c.id)
)
"""Writes what a running segment has reserved; no row: another one has the execution."""


RESERVE_WHILE_RUNNING: Final = Statement(RESERVING.where(joined.RUNNING.exists()).returning(*LEFT))
"""Reserves in a share if the segment still runs; no row: it does not, or it does not fit."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """A request to reserve what a step of a running segment needs."""

    execution: Execution
    """With what it has reserved before, which is released."""
    applying: tuple[Applying, ...]
    wanted: Wanted
    at: int
    since: int
    """Start of its work that is not counted yet."""
    calls: bool = False

    def held(self, budgets: Iterable[Applying], output: int) -> Reservation:
        """Return what an answer of this length reserves in these budgets."""
        tree, amounts = self.execution.tree, self.wanted.amounts(output)
        return held_in(budgets, tree, amounts, calls=self.calls)

    def change(self, held: Reservation) -> Change:
        """Return what a reservation does to the budgets of the execution."""
        before = self.execution.reserved
        return Change(self.execution.tree, self.at, self.since, released=before, held=held)


@dataclass(frozen=True, slots=True)
class Reserved:
    """What was reserved."""

    reservation: Reservation
    output_tokens: int
    """Maximum tokens of the answer that fit."""
    millis_left: int | None
    """Milliseconds of work left; None if no budget bounds them."""
    timed: tuple[Applying, ...] = ()
    """The budgets that bound them."""


def reserve_in_one(request: Reserve) -> Transaction[Reserved | None]:
    """Reserve in the single budget of an execution that has reserved nothing.

    None if it does not fit in its share, or the segment is over: `reserve` finds out.
    """
    (one,), output = request.applying, request.wanted.output_tokens
    held = request.held(request.applying, output)
    written = _set(request.execution, held)
    (moved,) = request.change(held).parameters(one)
    given = moved | written.parameters
    rows = yield Guarded(
        Query(RESERVE_WHILE_RUNNING, given),
        lambda _: written,
        Query(joined.RESERVE_AND_WRITE, given),
    )
    if not rows:
        return Result(None)
    return Result(_reserved(held, output, {one: rows[0][1]}))


def reserve(request: Reserve, full: Full = NONE_FULL) -> Transaction[Reserved | BudgetRefused]:
    """Reserve in every budget of the execution, or in none. Raises StaleWrite, ShareFull."""
    applying, output = request.applying, request.wanted.output_tokens
    first = request.held(applying, output)
    change = request.change(first)
    moves = [change.parameters(one) for one in applying]
    full |= {one.owner for one, (_, *more) in zip(applying, moves, strict=True) if more}
    if full:
        return (yield from _reserve_in_turn(request, full))
    in_shares = (Query(RESERVE_IN_SHARE, moved) for (moved,) in moves)
    answers: list[tuple[Row, ...]] = yield Together((_set(request.execution, first), *in_shares))
    if not answers[0]:
        raise StaleWrite
    found = dict(zip(applying, answers[1:], strict=True))
    if not all(answers):
        raise ShareFull(*(one.owner for one, rows in found.items() if not rows))
    left = {one: rows[0][1] for one, rows in found.items()}
    return Result(_reserved(first, output, left))


def _reserve_in_turn(request: Reserve, full: Full) -> Transaction[Reserved | BudgetRefused]:
    """Reserve in one budget after the other, in the order of locks; lock the `full` ones."""
    wanted, output = request.wanted, request.wanted.output_tokens
    if not (yield _set(request.execution, request.held(request.applying, output))):
        raise StaleWrite
    taken: dict[Applying, int | None] = {}
    for one in request.applying:
        fit = _fit_locked if one.owner in full else _fit_share
        found = yield from fit(one, request, output)
        if isinstance(found, BudgetRefused):
            yield from _undo(request, taken, wanted.amounts(output))
            yield from _release(request, taken)
            yield _set(request.execution, None)
            return Result(found)
        if found is None:
            continue
        if found.output < output:
            over = wanted.amounts(output) - wanted.amounts(found.output)
            yield from _undo(request, taken, over)
            output = found.output
        taken[found.budget] = found.millis_left
    kept = request.held(taken, output)
    yield _set(request.execution, kept)
    return Result(_reserved(kept, output, taken))


def note_refusal(refused: BudgetRefused, at: int) -> Transaction[bool]:
    """Note a refusal that was rolled back; return whether it is the first of its period."""
    locked = yield from locked_budget(refused.budget.owner, at)
    if locked is None:
        return Result(False)
    return Result((yield from locked.refuse(refused.bound)).first)


def _set(execution: Execution, reserved: Reservation | None) -> Query:
    given: dict[str, Any] = {
        "given_id": execution.id,
        "workspace": execution.workspace_id,
        "given_segment": execution.segment,
        "new_reserved": None if reserved is None else to_json(reserved.as_json()),
    }
    return Query(SET_RESERVED, given)


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What was reserved in one budget."""

    budget: Applying
    """As it is now."""
    output: int
    """Maximum tokens of the answer."""
    millis_left: int | None


def _fit_share(one: Applying, request: Reserve, output: int) -> Part[_Fitted]:
    """Reserve in a share alone. Raises ShareFull."""
    change = request.change(request.held((one,), output))
    (moved,) = change.parameters(one)
    if not (rows := (yield Query(RESERVE_IN_SHARE, moved))):
        raise ShareFull(one.owner)
    return _Fitted(one, output, rows[0][1])


def _fit_locked(
    one: Applying, request: Reserve, output: int
) -> Part[_Fitted | BudgetRefused | None]:
    """Lock a budget and reserve what fits. None if the budget was removed."""
    locked = yield from locked_budget(one.owner, request.at)
    if locked is None:
        return None
    now = locked.applying
    wanted = replace(request.wanted, output_tokens=output)
    before = request.execution.reserved
    less = NO_AMOUNTS if before is None else before.of(now.owner, now.made)
    fits = locked.fits(wanted, NO_AMOUNTS - less)
    if isinstance(fits, Bound):
        return (yield from locked.refuse(fits))
    held = request.held((now,), fits)
    yield from moved_locked(*request.change(held).parameters(now))
    yield from locked.grant(held.amounts - less)
    return _Fitted(now, fits, locked.left().millis)


def _undo(request: Reserve, taken: Iterable[Applying], amounts: Amounts) -> Part[None]:
    """Release this of what was just reserved."""
    tree, at = request.execution.tree, request.at
    change = Change(tree, at, at, released=held_in(taken, tree, amounts))
    for one in taken:
        yield from moved_locked(*change.parameters(one))


def _release(request: Reserve, taken: Iterable[Applying]) -> Part[None]:
    """Release what was reserved before in the budgets where nothing new has taken its place."""
    before = request.execution.reserved
    if before is None:
        return
    change = Change(request.execution.tree, request.at, request.at, released=before)
    replaced = {one.owner for one in taken}
    for one in request.applying:
        if one.owner in before.owners and one.owner not in replaced:
            locked = yield from locked_budget(one.owner, request.at)
            if locked is not None:
                yield from moved_locked(*change.parameters(locked.applying))


def _reserved(reservation: Reservation, output: int, left: dict[Applying, int | None]) -> Reserved:
    timed = {one: millis for one, millis in left.items() if millis is not None}
    return Reserved(reservation, output, min(timed.values(), default=None), tuple(timed))
