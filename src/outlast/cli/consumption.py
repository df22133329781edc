"""`outlast usage`: what the workspace has used, through the server."""

from typing import Annotated, Any, Final

from typer import Option

from outlast.cli.options import AsJson, require_one_of
from outlast.cli.output import note, write_json, write_table
from outlast.cli.through import Server, through_server

_GROUPS: Final = {
    "agent": ("agent", "agentId"),
    "model": ("model",),
    "tool": ("tool",),
    "key": ("keyId",),
    "conversation": ("conversationId",),
}
"""Fields of a row that name its group; the first one that has a value is shown."""
_BUCKETS: Final = {"hour": 13, "day": 10, "month": 7}
"""Characters of a bucket's start that are shown."""


@through_server()
def usage(
    server: Server,
    *,
    start: Annotated[
        str | None, Option("--from", help="From the hour of this time; default: 30 days before.")
    ] = None,
    to: Annotated[
        str | None, Option(help="To the end of the hour of this time; a date includes its day.")
    ] = None,
    bucket: Annotated[str, Option(help="hour, day or month: the time of a row, in UTC.")] = "day",
    by: Annotated[
        str | None, Option(help="agent, model, tool, key or conversation: a row for each.")
    ] = None,
    limit: Annotated[int, Option(min=1, max=1000, help="Maximum number of rows.")] = 100,
    after: Annotated[str | None, Option(help="Cursor of the previous page's end.")] = None,
    json: AsJson = False,
) -> None:
    """Show tokens and credits that the workspace has used."""
    require_one_of("--bucket", bucket, _BUCKETS)
    require_one_of("--by", by, _GROUPS)
    query = {"from": start, "to": to, "bucket": bucket, "groupBy": by}
    query |= {"limit": str(limit), "after": after}
    page = server.request(lambda c: c.usage(**query))
    if json:
        write_json(page)
        return
    figures = ("requests", "tool calls", "tokens in", "out", "credits")
    titles = [page["bucket"], *([by] if by else []), *figures]
    write_table(titles, [_row(row, page["bucket"], by) for row in page["data"]])
    if page["hasMore"]:
        note(f"There are more: --after {page['nextCursor']}")


def _row(row: dict[str, Any], bucket: str, by: str | None) -> list[object]:
    fields = _GROUPS.get(by or "", ())
    group = [next((row[field] for field in fields if row[field]), "-")] if fields else []
    start = row["start"][: _BUCKETS[bucket]].replace("T", " ")
    names = ("modelRequests", "toolCalls", "inputTokens", "outputTokens")
    figures = [row[name] for name in names]
    return [start, *group, *figures, f"{row['credits']:.9g}"]
