"""What the workspace has used: bars over time, and a table of the same."""

from dataclasses import replace
from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.consumption import Bucket, Grouping
from outlast.model.workspace import Scope
from outlast.rooms.console.render.page import page
from outlast.rooms.console.render.usage import bars, lines_of_csv, run_bars, starts_of, table
from outlast.rooms.console.routes.endpoints import page_at
from outlast.services.all import Services
from outlast.services.lists import Created
from outlast.services.usage import UsageRequest

_HOUR: Final = 60 * 60 * 1000
_MOST: Final = 300
_MOST_LINES: Final = 10_000
_MOST_COUNTED: Final = 100_000
"""Executions of a line of CSV: of so many, each is one entry of an index that is read."""
RANGES: Final = {
    "24h": ("24 hours", 24 * _HOUR, Bucket.HOUR),
    "7d": ("7 days", 7 * 24 * _HOUR, Bucket.DAY),
    "30d": ("30 days", 30 * 24 * _HOUR, Bucket.DAY),
    "12mo": ("12 months", 365 * 24 * _HOUR, Bucket.MONTH),
}
"""Times that the page shows, by their name in its address."""


async def usage(call: Call, services: Services) -> Response:
    """Tokens and credits, in all with executions, or by agent, model, tool or key."""
    name, request = _wanted(call, services)
    by, bucket = request.grouping, request.bucket
    found = await services.usage.page(call.principal, request)
    starts = starts_of(bucket, found.start, found.end)
    created: list[Created] = []
    if by is None:
        created = await services.lists.between(call.principal, [*starts, found.end])
    return page(
        call,
        "usage.html",
        ranges=RANGES,
        chosen=name,
        by="" if by is None else by.value,
        groupings=[one.value for one in Grouping if one is not Grouping.CONVERSATION],
        bars=bars(found.rows, bucket, starts),
        run_bars=run_bars(created, bucket),
        rows=table(found.rows, bucket, created, found.end),
        more=found.has_more,
    )


async def usage_as_csv(call: Call, services: Services) -> Response:
    """The same as lines of CSV, the oldest first; all of them, up to a bound."""
    name, request = _wanted(call, services)
    found = await services.usage.page(call.principal, request)
    rows, created = [*found.rows], list[Created]()
    if request.grouping is None:
        starts = starts_of(request.bucket, found.start, found.end)
        times = [*starts, found.end]
        created = await services.lists.between(call.principal, times, _MOST_COUNTED)
    while found.has_more and len(rows) < _MOST_LINES:
        request = replace(request, after=rows[-1].start, behind=rows[-1].group)
        found = await services.usage.page(call.principal, request)
        rows += found.rows
    by = "" if request.grouping is None else request.grouping.value
    file = f"usage-{name}-{by}.csv" if by else f"usage-{name}.csv"
    return Response(
        lines_of_csv(rows, request.bucket, by, created, _MOST_COUNTED),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{file}"'},
    )


def _wanted(call: Call, services: Services) -> tuple[str, UsageRequest]:
    """Return the name of the time, and what the address wants to know of it."""
    name = call.query_params.get("range", "")
    name = name if name in RANGES else "7d"
    _, millis, bucket = RANGES[name]
    given = call.query_params.get("by", "")
    by = Grouping(given) if given in set(Grouping) - {Grouping.CONVERSATION} else None
    end = services.clock.now() + 1
    return name, UsageRequest(end - millis, end, bucket, by, _MOST)


PAGES: Final = (
    page_at("/usage", usage, "Usage", scope=Scope.EXECUTIONS_READ),
    page_at("/usage/csv", usage_as_csv, "UsageAsCsv", scope=Scope.EXECUTIONS_READ),
)
