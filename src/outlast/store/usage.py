"""Sums over the ledger of charges: past hours are added up once, newer charges when they are read.

`usage_hours` only saves work: its rows are the sums of charges that no longer change, because every
hour is added up long after its end.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.consumption import HOUR_MILLIS, Consumption, Grouping, Span
from outlast.store.agents import agents
from outlast.store.charges import charges
from outlast.store.driver import Driver, Query, Statement, Transaction, TransactionResult
from outlast.store.tables import count, identifier, metadata
from outlast.store.workspaces import workspaces

usage_hours: Final = Table(
    "usage_hours",
    metadata,
    identifier("workspace_id", primary_key=True),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    identifier("agent_id", primary_key=True),
    identifier("key_id", primary_key=True),  # empty: none
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    count("input_tokens"),
    count("output_tokens"),
    count("credits"),
    count("charges"),
    sqlite_with_rowid=False,
)
"""Sums of an hour's charges; the hours of a workspace are added up in their order."""

_SUMMED: Final = ("input_tokens", "output_tokens", "credits", "charges")


def summed_until(workspace: ColumnElement[str]) -> ColumnElement[int]:
    """Return the end of the last hour of a workspace that is added up."""
    last = (
        select(func.max(usage_hours.c.hour))
        .where(usage_hours.c.workspace_id == workspace)
        .correlate(workspaces)
        .scalar_subquery()
    )
    return func.coalesce(last + HOUR_MILLIS, 0)


# --- adding up

_first_open: Final = (
    select(func.min(charges.c.at))
    .where(
        charges.c.workspace_id == workspaces.c.id,
        charges.c.at >= summed_until(workspaces.c.id),
    )
    .correlate(workspaces)
    .scalar_subquery()
    .label("at")
)
_open_hours: Final = select(workspaces.c.id, _first_open).subquery("open_hours")
WORKSPACES_TO_SUM: Final = Statement(
    select(_open_hours.c.id, _open_hours.c.at)
    .where(_open_hours.c.at < bindparam("latest", type_=BigInteger))
    .limit(bindparam("limit"))
)
"""Each workspace with charges that are not added up, and the time of the first one."""

_key: Final = func.coalesce(charges.c.key_id, "")
_agent: Final = func.coalesce(charges.c.agent_id, "")
_conversation: Final = func.coalesce(charges.c.conversation_id, "")
SUM_HOUR: Final = Statement(
    insert(usage_hours).from_select(
        [column.name for column in usage_hours.c],
        select(
            charges.c.workspace_id,
            bindparam("hour", type_=BigInteger),
            _agent,
            _key,
            charges.c.kind,
            charges.c.name,
            func.sum(charges.c.input_tokens),
            func.sum(charges.c.output_tokens),
            func.sum(charges.c.credits),
            func.count(),
        )
        .where(
            charges.c.workspace_id == bindparam("workspace"),
            charges.c.at >= bindparam("hour"),
            charges.c.at < bindparam("hour_end", type_=BigInteger),
        )
        .group_by(charges.c.workspace_id, _agent, _key, charges.c.kind, charges.c.name),
    )
)


# --- reading


def _ledger() -> Select[Any]:
    """Charges as they are."""
    return select(
        charges.c.at,
        _agent.label("agent_id"),
        _key.label("key_id"),
        _conversation.label("conversation_id"),
        charges.c.kind,
        charges.c.name,
        charges.c.input_tokens,
        charges.c.output_tokens,
        charges.c.credits,
        literal(1).label("charges"),
    ).where(
        charges.c.workspace_id == bindparam("workspace"),
        charges.c.at >= bindparam("start", type_=BigInteger),
        charges.c.at < bindparam("end", type_=BigInteger),
    )


def _summed() -> Select[Any]:
    """Hours that are added up."""
    return select(
        usage_hours.c.hour,
        usage_hours.c.agent_id,
        usage_hours.c.key_id,
        literal(""),
        usage_hours.c.kind,
        usage_hours.c.name,
        *(usage_hours.c[name] for name in _SUMMED),
    ).where(
        usage_hours.c.workspace_id == bindparam("workspace"),
        usage_hours.c.hour >= bindparam("start", type_=BigInteger),
        usage_hours.c.hour < bindparam("end", type_=BigInteger),
    )


def _usage(grouping: Grouping | None) -> Select[Any]:
    """Sums by bucket and group, in this order, behind a bucket and group."""
    workspace: ColumnElement[str] = bindparam("workspace")
    if grouping is Grouping.CONVERSATION:
        found = _ledger().subquery("used")
    else:
        open_charges = _ledger().where(charges.c.at >= summed_until(workspace))
        found = union_all(_summed(), open_charges).subquery("used")
    at, agent_id, key_id, conversation_id, kind, name, *figures = found.c
    groups: dict[Grouping | None, ColumnElement[str]] = {
        Grouping.AGENT: agent_id,
        Grouping.KEY: key_id,
        Grouping.CONVERSATION: conversation_id,
        Grouping.MODEL: case((kind == "model", name), else_=""),
        Grouping.TOOL: case((kind == "tool", name), else_=""),
        None: literal_column("''"),
    }
    first, length = bindparam("first", type_=BigInteger), bindparam("length", type_=BigInteger)
    input_tokens, output_tokens, credits_, count_ = figures
    totals = (
        select(
            ((at - first) // length * length + first).label("bucket"),
            groups[grouping].label("used_by"),
            _sum(input_tokens, "input_tokens"),
            _sum(output_tokens, "output_tokens"),
            _sum(credits_, "credits"),
            _sum(case((kind == "model", count_), else_=0), "model_requests"),
            _sum(case((kind == "tool", count_), else_=0), "tool_calls"),
        )
        .group_by("bucket", "used_by")
        .subquery("totals")
    )
    bucket, used_by, *sums = totals.c
    after, behind = (
        bindparam("after_bucket", type_=BigInteger),
        bindparam("after_group", type_=Text),
    )
    return (
        select(bucket, used_by, agents.c.name, *sums)
        .select_from(totals)
        .outerjoin(agents, agents.c.id == used_by)
        .where(or_(bucket > after, and_(bucket == after, used_by > behind)))
        .order_by(bucket, used_by)
        .limit(bindparam("limit"))
    )


def _sum(column: ColumnElement[int], name: str) -> ColumnElement[int]:
    """Return the sum; Postgres' own is of arbitrary precision."""
    return cast(func.sum(column), BigInteger).label(name)


USAGE: Final = tuple(Statement(partial(_usage, grouping)) for grouping in Grouping)
USAGE_OF_ALL: Final = Statement(partial(_usage, None))
_BY_GROUPING: Final[dict[Grouping | None, Statement]] = {
    None: USAGE_OF_ALL,
    **dict(zip(Grouping, USAGE, strict=True)),
}


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Rows wanted: of these spans, in order, behind a bucket and group."""

    spans: tuple[Span, ...]
    grouping: Grouping | None
    limit: int
    after: int = -1
    """Start of the bucket of the last row of the page before."""
    behind: str = ""
    """Group of that row."""


class UsageStore:
    """What workspaces have used."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def page(self, workspace_id: str, page: UsagePage) -> list[Consumption]:
        """Return at most `limit` rows, by bucket and group. Raises Overloaded."""
        return await self._driver.read(lambda: _page(workspace_id, page))

    async def sum_hours(self, before: int, limit: int) -> int:
        """Add up at most `limit` hours that end before this time; return how many.

        Raises Overloaded.
        """
        return await self._driver.write(lambda: _sum_hours(before, limit), durable=False)


def _page(workspace_id: str, page: UsagePage) -> Transaction[list[Consumption]]:
    found: list[Consumption] = []
    for span in page.spans:
        rows = yield Query(
            _BY_GROUPING[page.grouping],
            {
                "workspace": workspace_id,
                "start": span.start,
                "end": span.end,
                "first": span.first,
                "length": span.length,
                "after_bucket": page.after,
                "after_group": page.behind,
                "limit": page.limit - len(found),
            },
        )
        found.extend(Consumption(*row) for row in rows)
        if len(found) >= page.limit:
            break
    return TransactionResult(found)


def _sum_hours(before: int, limit: int) -> Transaction[int]:
    """Add up the next hour of each workspace.

    Of two processes that add up the same hour one is refused by the primary key, and tried again.
    """
    latest = before - before % HOUR_MILLIS
    rows = yield Query(WORKSPACES_TO_SUM, {"latest": latest, "limit": limit})
    for workspace_id, at in rows:
        hour = at - at % HOUR_MILLIS
        of = {"workspace": workspace_id, "hour": hour, "hour_end": hour + HOUR_MILLIS}
        yield Query(SUM_HOUR, of)
    return TransactionResult(len(rows))
