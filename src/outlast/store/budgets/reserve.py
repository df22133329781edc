"""The transaction that precedes a model request: it reserves what the request may cost."""

from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import bindparam, literal_column, update

from outlast.model.budget import Amounts, Bound, BudgetRefused, Reservation
from outlast.model.error import StaleWrite
from outlast.model.execution import Execution
from outlast.store.budgets import joined
from outlast.store.budgets.shares import Applying, Change, Wanted, locked_budget
from outlast.store.budgets.tables import LEFT, MOVE_LOCKED_SHARE, RESERVE_IN_SHARE, RESERVING
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
    (one,), wanted = request.applying, request.wanted
    held = Reservation(wanted.amounts(wanted.output_tokens), (one.owner,), request.calls)
    written = _set(request.execution, held)
    given = _change(request, held).parameters(one.owner, one.shares) | written.parameters
    rows = yield Guarded(
        Query(RESERVE_WHILE_RUNNING, given),
        lambda _: written,
        Query(joined.RESERVE_AND_WRITE, given),
    )
    if not rows:
        return Result(None)
    return Result(_reserved(held, wanted.output_tokens, {one: rows[0][1]}))


def reserve(request: Reserve) -> Transaction[Reserved | BudgetRefused]:
    """Reserve in every budget of the execution, or in none. Raises StaleWrite."""
    wanted, applying = request.wanted, request.applying
    owners = tuple(one.owner for one in applying)
    first = Reservation(wanted.amounts(wanted.output_tokens), owners, request.calls)
    change = _change(request, first)
    answers: list[tuple[Row, ...]] = yield Together(
        (
            _set(request.execution, first),
            *(
                Query(RESERVE_IN_SHARE, change.parameters(one.owner, one.shares))
                for one in applying
            ),
        )
    )
    if not answers[0]:
        raise StaleWrite
    left = {one: rows[0][1] for one, rows in zip(applying, answers[1:], strict=True) if rows}
    if all(answers):
        return Result(_reserved(first, wanted.output_tokens, left))
    taken = list(left)
    output = wanted.output_tokens
    for one in applying:
        if one in taken:
            continue
        found = yield from _fit(one, request, output)
        if isinstance(found, BudgetRefused):
            yield from _undo(request, taken, wanted.amounts(output))
            yield from _release(request, taken)
            yield _set(request.execution, None)
            return Result(found)
        if found is None:
            continue
        smaller, millis = found
        left[one] = millis
        if smaller < output:
            over = wanted.amounts(output) - wanted.amounts(smaller)
            yield from _undo(request, taken, over)
            output = smaller
        taken.append(one)
    kept = replace(first, amounts=wanted.amounts(output))
    if kept != first:
        yield _set(request.execution, kept)
    return Result(_reserved(kept, output, left))


def note_refusal(refused: BudgetRefused, at: int) -> Transaction[bool]:
    """Note a refusal that was rolled back; return whether it is the first of its period."""
    locked = yield from locked_budget(refused.budget.owner, at)
    if locked is None:
        return Result(False)
    return Result((yield from locked.refuse(refused.bound)).first)


def _change(request: Reserve, held: Reservation | None) -> Change:
    execution = request.execution
    return Change(execution.tree, request.at, request.since, released=execution.reserved, held=held)


def _set(execution: Execution, reserved: Reservation | None) -> Query:
    given: dict[str, Any] = {
        "given_id": execution.id,
        "workspace": execution.workspace_id,
        "given_segment": execution.segment,
        "new_reserved": None if reserved is None else to_json(reserved.as_json()),
    }
    return Query(SET_RESERVED, given)


def _fit(
    one: Applying, request: Reserve, output: int
) -> Part[tuple[int, int | None] | BudgetRefused | None]:
    """Lock a budget and reserve what fits: return the answer's tokens, and the time left.

    None if the budget was removed.
    """
    locked = yield from locked_budget(one.owner, request.at)
    if locked is None:
        return None
    wanted = replace(request.wanted, output_tokens=output)
    before = request.execution.reserved
    less = before.amounts if before is not None and one.owner in before.owners else Amounts()
    fits = locked.fits(wanted, Amounts() - less)
    if isinstance(fits, Bound):
        return (yield from locked.refuse(fits))
    held = wanted.amounts(fits)
    change = _change(request, Reservation(held, (one.owner,)))
    yield Query(MOVE_LOCKED_SHARE, change.parameters(one.owner, locked.shares))
    yield from locked.grant(held - less)
    return fits, locked.left().millis


def _undo(request: Reserve, taken: list[Applying], amounts: Amounts) -> Part[None]:
    """Release this of what was just reserved."""
    released = Reservation(amounts, tuple(one.owner for one in taken))
    change = Change(request.execution.tree, request.at, request.at, released=released)
    for one in taken:
        yield Query(MOVE_LOCKED_SHARE, change.parameters(one.owner, one.shares))


def _release(request: Reserve, taken: list[Applying]) -> Part[None]:
    """Release what was reserved before in the budgets where nothing new has taken its place."""
    before = request.execution.reserved
    if before is None:
        return
    change = Change(request.execution.tree, request.at, request.at, released=before)
    for one in request.applying:
        if one.owner in before.owners and one not in taken:
            yield from locked_budget(one.owner, request.at)
            yield Query(MOVE_LOCKED_SHARE, change.parameters(one.owner, one.shares))


def _reserved(reservation: Reservation, output: int, left: dict[Applying, int | None]) -> Reserved:
    timed = {one: millis for one, millis in left.items() if millis is not None}
    return Reserved(reservation, output, min(timed.values(), default=None), tuple(timed))
