"""Usage: what a workspace has used in a time."""

from dataclasses import dataclass
from typing import Final

from outlast.model.clock import Clock
from outlast.model.consumption import HOUR_MILLIS, Bucket, Consumption, Grouping
from outlast.model.error import InvalidFilter
from outlast.model.workspace import Principal, Scope
from outlast.store.usage import UsagePage, UsageStore

_DEFAULT_MILLIS: Final = 30 * 24 * HOUR_MILLIS


@dataclass(frozen=True, slots=True)
class UsageRequest:
    """A page of usage wanted. None: until now, and from 30 days before the end."""

    start: int | None
    end: int | None
    bucket: Bucket
    grouping: Grouping | None
    limit: int
    after: int = -1
    behind: str = ""


@dataclass(frozen=True, slots=True)
class Usages:
    """A page of usage, by bucket and group."""

    start: int
    end: int
    """The time that it covers, in whole hours."""
    rows: list[Consumption]
    has_more: bool


class Usage:
    """What workspaces have used."""

    def __init__(self, store: UsageStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def page(self, principal: Principal, request: UsageRequest) -> Usages:
        """Return a page. Raises MissingScope, InvalidFilter if the time ends before its start."""
        principal.require(Scope.EXECUTIONS_READ)
        end = self._clock.now() + 1 if request.end is None else request.end
        start = end - _DEFAULT_MILLIS if request.start is None else request.start
        if start >= end:
            raise InvalidFilter("The time must start before it ends.", param="from")
        start, end = Bucket.HOUR.start_of(start), Bucket.HOUR.start_of(end - 1) + HOUR_MILLIS
        spans = tuple(request.bucket.spans(max(start, request.after), end))
        page = UsagePage(spans, request.grouping, request.limit + 1, request.after, request.behind)
        rows = await self._store.page(principal.workspace_id, page)
        return Usages(start, end, rows[: request.limit], len(rows) > request.limit)
