"""Budgets and their shares: the tables, and statements on their rows.

Rows are locked in one order: by owner, of one owner the budget before its shares, and the shares by
number. They come last in a transaction (docs/decisions/budgets.md).
"""

from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.sql.expression import ColumnElement, Update

from outlast.store.driver import Statement
from outlast.store.tables import added_count, count, flag, identifier, metadata, time

budgets: Final = Table(
    "budgets",
    metadata,
    identifier("owner", primary_key=True),
    identifier("workspace_id"),
    Column("period", Text, nullable=False),
    Column("zone", Text, nullable=False),
    count("max_tokens", nullable=True),
    count("max_credits", nullable=True),
    count("max_steps", nullable=True),
    count("max_millis", nullable=True),
    time("starts_at"),
    time("resets_at", nullable=True),
    count("shares"),
    flag("is_tree"),
    Column("refused", Text),  # the bound that has refused something in this period
    added_count("noticed"),  # the highest percentage that was logged in this period
    time("created_at"),
    CheckConstraint("period IN ('none', 'day', 'month')", name="period"),
    Index(None, "workspace_id", "owner"),
    Index("ix_budgets_set", "workspace_id", "owner", sqlite_where=text("NOT is_tree")),
    sqlite_with_rowid=False,
)
"""Bounds by owner: an execution with its tree, a conversation, a key, or a workspace."""

budget_shares: Final = Table(
    "budget_shares",
    metadata,
    identifier("owner", primary_key=True),
    Column("share", BigInteger, primary_key=True, autoincrement=False),
    time("resets_at", nullable=True),
    count("granted_tokens", nullable=True),
    count("granted_credits", nullable=True),
    count("granted_steps", nullable=True),
    count("granted_millis", nullable=True),
    count("spent_tokens"),
    count("spent_credits"),
    count("spent_steps"),
    count("spent_millis"),
    count("reserved_tokens"),
    count("reserved_credits"),
    count("reserved_steps"),
    count("known_until", nullable=True),  # None: overlapping time is added up
    sqlite_with_rowid=False,
)
"""What is granted, spent and reserved in each share of a budget; null grants have no bound."""

AMOUNTS: Final = ("tokens", "credits", "steps")
COUNTS: Final = tuple(
    f"{what}_{name}"
    for what, names in (("spent", (*AMOUNTS, "millis")), ("reserved", AMOUNTS))
    for name in names
)

INSERT_BUDGET: Final = Statement(insert(budgets))
INSERT_SHARE: Final = Statement(insert(budget_shares))

_shares: Final = budget_shares.c
_own_share: Final = update(budget_shares).where(
    _shares.owner == bindparam("of_owner"), _shares.share == bindparam("of_share")
)
_at: Final = bindparam("at", type_=BigInteger)
_since: Final = bindparam("since", type_=BigInteger)


def _greater(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return case((one > other, one), else_=other)


_zero: Final[ColumnElement[int]] = literal_column("0", BigInteger)
_one: Final[ColumnElement[int]] = literal_column("1", BigInteger)
_new_millis: Final = case(
    (_since >= _at, _zero),
    (_shares.known_until.is_(None), _at - _since),
    (_shares.known_until >= _at, _zero),
    else_=_at - _greater(_shares.known_until, _since),
)
"""Milliseconds from `since` to `at` that no earlier statement has added."""
_known_until: Final = case(
    (_shares.known_until < _at, _at),
    else_=_shares.known_until,
)


def _moved(statement: Update) -> Update:
    """Spend, and change what is reserved; another share's reservation is never released."""
    return statement.values(
        **{
            f"spent_{name}": _shares[f"spent_{name}"] + bindparam(f"more_{name}", type_=BigInteger)
            for name in AMOUNTS
        },
        **{
            f"reserved_{name}": _greater(
                _shares[f"reserved_{name}"] - bindparam(f"less_{name}", type_=BigInteger), _zero
            )
            + bindparam(f"held_{name}", type_=BigInteger)
            for name in AMOUNTS
        },
        spent_millis=_shares.spent_millis + _new_millis,
        known_until=_known_until,
    )


def _fits(name: str) -> ColumnElement[bool]:
    granted = _shares[f"granted_{name}"]
    used = (
        _shares[f"spent_{name}"]
        + bindparam(f"more_{name}", type_=BigInteger)
        + _greater(_shares[f"reserved_{name}"] - bindparam(f"less_{name}", type_=BigInteger), _zero)
        + bindparam(f"held_{name}", type_=BigInteger)
    )
    return or_(granted.is_(None), used <= granted)


MOVE_SHARE: Final = Statement(_moved(_own_share), independent=True)
"""Spends and releases in a share, whatever is granted; time counts from `since` to `at`.

The only statement of its transaction on this share.
"""

MOVE_LOCKED_SHARE: Final = Statement(_moved(_own_share))
"""The same beside other statements on the share, which is locked."""

RESERVING: Final = _moved(_own_share).where(
    or_(_shares.resets_at.is_(None), _shares.resets_at > _at),
    *map(_fits, AMOUNTS),
    or_(
        _shares.granted_millis.is_(None),
        _shares.spent_millis + _new_millis < _shares.granted_millis,
    ),
    select(budgets.c.created_at).where(budgets.c.owner == _shares.owner).scalar_subquery()
    == bindparam("made", type_=BigInteger),
)
LEFT: Final = (
    _shares.owner,
    (_shares.granted_millis - _shares.spent_millis).label("millis_left"),
)

RESERVE_IN_SHARE: Final = Statement(RESERVING.returning(*LEFT))
"""The same with a reservation that must fit; no row: it does not, a new period has begun, or the
budget was made again.

Returns the milliseconds left, None without a bound of them.
"""

SPEND_TIME: Final = Statement(
    _own_share.values(
        spent_millis=_shares.spent_millis + _new_millis, known_until=_known_until
    ).returning(_shares.granted_millis - _shares.spent_millis)
)
"""Adds the time from `since` to `at`; returns the milliseconds left."""

_budget: Final = select(*budgets.c).where(budgets.c.owner == bindparam("of_owner"))
LOCK_BUDGET: Final = Statement(_budget.with_for_update())
LOCK_SHARES: Final = Statement(
    select(*budget_shares.c)
    .where(_shares.owner == bindparam("of_owner"))
    .order_by(_shares.share)
    .with_for_update()
)

GRANT: Final = Statement(
    update(budget_shares)
    .where(_shares.owner == bindparam("of_owner"))
    .values(
        **{
            f"granted_{name}": _shares[f"spent_{name}"]
            + _shares[f"reserved_{name}"]
            + bindparam(f"free_{name}", type_=BigInteger)
            * case((_shares.share < bindparam("used_shares", type_=BigInteger), _one), else_=_zero)
            for name in AMOUNTS
        },
        granted_millis=case(
            (_shares.share == _zero, bindparam("new_millis", type_=BigInteger)),
            (_shares.share >= bindparam("used_shares", type_=BigInteger), _zero),
        ),
    )
)
"""Grants each share what it uses, and the first ones an equal part of what is free each.

Null: no bound. Time is granted to the first share alone; none to those that are not used, so that
nothing more is reserved in them.
"""

BEGIN_PERIOD: Final = Statement(
    update(budgets)
    .where(budgets.c.owner == bindparam("of_owner"))
    .values(
        starts_at=bindparam("new_start", type_=BigInteger),
        resets_at=bindparam("new_end", type_=BigInteger),
        refused=null(),
        noticed=_zero,
    )
)
BEGIN_SHARES: Final = Statement(
    update(budget_shares)
    .where(_shares.owner == bindparam("of_owner"))
    .values(
        resets_at=bindparam("new_end", type_=BigInteger),
        **{f"spent_{name}": _zero for name in (*AMOUNTS, "millis")},
    )
)
"""A new period: nothing is spent; what is reserved stays."""

NOTE_REFUSAL: Final = Statement(
    update(budgets)
    .where(budgets.c.owner == bindparam("of_owner"))
    .values(refused=bindparam("new_refused"), noticed=bindparam("new_noticed", type_=BigInteger))
)
CLOSE_SHARES: Final = Statement(
    update(budget_shares)
    .where(_shares.owner == bindparam("of_owner"))
    .values(
        **{
            f"granted_{name}": case((_shares[f"granted_{name}"].is_not(None), _zero))
            for name in AMOUNTS
        }
    )
)
"""Grants nothing any more, of what has a bound."""


def with_totals() -> Select[Any]:
    """Select budgets, each with the totals of its shares."""
    sums = (
        select(cast(func.sum(_shares[name]), BigInteger))
        .where(_shares.owner == budgets.c.owner)
        .correlate(budgets)
        .scalar_subquery()
        .label(name)
        for name in COUNTS
    )
    return select(*budgets.c, *sums)


def _with_totals(*where: ColumnElement[bool], limit: bool = False) -> Statement:
    found = with_totals().where(*where).order_by(budgets.c.owner)
    return Statement(found.limit(bindparam("limit")) if limit else found)


ANY_BUDGET: Final = Statement(
    select(budgets.c.owner)
    .where(budgets.c.workspace_id == bindparam("workspace"))
    .order_by(budgets.c.owner)
    .limit(literal_column("1"))
)

BUDGETS_OF: Final = _with_totals(
    budgets.c.workspace_id == bindparam("workspace"),
    budgets.c.owner.in_(
        [bindparam("owner_1"), bindparam("owner_2"), bindparam("owner_3"), bindparam("owner_4")]
    ),
)
"""Selects these budgets with their totals, by owner."""

BUDGET: Final = _with_totals(
    budgets.c.workspace_id == bindparam("workspace"), budgets.c.owner == bindparam("of_owner")
)


@cache
def list_budgets(filters: frozenset[str]) -> Statement:
    """Select a page by owner, with filters of these names."""
    conditions: dict[str, ColumnElement[bool]] = {
        "after": budgets.c.owner > bindparam("after"),
        "kind": and_(
            budgets.c.owner > bindparam("kind"), budgets.c.owner < bindparam("behind_kind")
        ),
    }
    return _with_totals(
        budgets.c.workspace_id == bindparam("workspace"),
        *(conditions[name] for name in sorted(filters)),
        limit=True,
    )


UPDATE_BUDGET: Final = Statement(
    update(budgets)
    .where(budgets.c.owner == bindparam("of_owner"))
    .values(
        period=bindparam("new_period"),
        zone=bindparam("new_zone"),
        **{
            f"max_{name}": bindparam(f"new_{name}", type_=BigInteger)
            for name in (*AMOUNTS, "millis")
        },
        starts_at=bindparam("new_start", type_=BigInteger),
        resets_at=bindparam("new_end", type_=BigInteger),
        shares=bindparam("new_shares", type_=BigInteger),
        refused=null(),
        noticed=_zero,
    )
)
"""The budget is locked."""

SET_SPENT: Final = Statement(
    _own_share.values(
        **{f"spent_{name}": bindparam(f"new_{name}", type_=BigInteger) for name in AMOUNTS}
    )
)
"""The budget is locked."""

DELETE_BUDGET: Final = (
    Statement(delete(budgets).where(budgets.c.owner == bindparam("id"))),
    Statement(delete(budget_shares).where(_shares.owner == bindparam("id"))),
)
"""Deletes the budget of an owner, who was reached through the workspace, in the order of locks."""
