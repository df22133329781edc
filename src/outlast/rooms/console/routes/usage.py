"""What the workspace has used: bars over time, and a table of the same."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.consumption import Bucket, Grouping
from outlast.model.workspace import Scope
from outlast.rooms.console.render.page import page
from outlast.rooms.console.render.usage import bars, table
from outlast.rooms.console.routes.endpoints import page_at
from outlast.services.all import Services
from outlast.services.usage import UsageRequest

_HOUR: Final = 60 * 60 * 1000
_MOST: Final = 300
RANGES: Final = {
    "24h": ("24 hours", 24 * _HOUR, Bucket.HOUR),
    "7d": ("7 days", 7 * 24 * _HOUR, Bucket.DAY),
    "30d": ("30 days", 30 * 24 * _HOUR, Bucket.DAY),
    "12mo": ("12 months", 365 * 24 * _HOUR, Bucket.MONTH),
}
"""Times that the page shows, by their name in its address."""


async def usage(call: Call, services: Services) -> Response:
    """Tokens and credits, in all or by agent, model or key."""
    name = call.query_params.get("range", "")
    name = name if name in RANGES else "7d"
    _, millis, bucket = RANGES[name]
    given = call.query_params.get("by", "")
    by = Grouping(given) if given in set(Grouping) - {Grouping.CONVERSATION} else None
    end = services.clock.now() + 1
    request = UsageRequest(end - millis, end, bucket, by, _MOST)
    found = await services.usage.page(call.principal, request)
    return page(
        call,
        "usage.html",
        ranges=RANGES,
        chosen=name,
        by="" if by is None else by.value,
        groupings=[one.value for one in Grouping if one is not Grouping.CONVERSATION],
        bars=bars(found.rows, bucket, found.start, found.end),
        rows=table(found.rows, bucket),
        more=found.has_more,
    )


PAGES: Final = (page_at("/usage", usage, "Usage", scope=Scope.EXECUTIONS_READ),)
