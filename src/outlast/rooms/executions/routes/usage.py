"""Usage: what the workspace has used, by time and by group."""

import re
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.parameters import EndMoment, Moment
from outlast.http.spool import json_response
from outlast.model.clock import iso
from outlast.model.consumption import Bucket, Consumption, Grouping
from outlast.model.price import credits_of
from outlast.model.workspace import Scope
from outlast.rooms.executions.schemas import CAMEL
from outlast.services.all import Services
from outlast.services.usage import UsageRequest, Usages

_CURSOR: Final = re.compile(r"([0-9]{1,15})~([^\0]*)")


def _place(cursor: str) -> tuple[int, str]:
    """Read `nextCursor`: the bucket and the group of a page's last row. Raises ValueError."""
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise ValueError("must be nextCursor of a page")
    return int(found[1]), found[2]


class UsageQuery(BaseModel):
    """What the usage is of."""

    model_config = CAMEL

    from_: Annotated[
        Moment | None,
        Field(alias="from", description="From the hour of this time. Default: 30 days before."),
    ] = None
    to: Annotated[
        EndMoment | None, Field(description="To the end of the hour of this time. Default: now.")
    ] = None
    bucket: Annotated[
        Bucket, Field(description="Time that a row covers; days and months are UTC's.")
    ] = Bucket.DAY
    group_by: Annotated[
        Grouping | None, Field(description="One row for each of these, in every bucket.")
    ] = None
    after: Annotated[
        Annotated[tuple[int, str], BeforeValidator(_place), WithJsonSchema({"type": "string"})]
        | None,
        Field(description="`nextCursor` of the page before."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class UsageRow(TypedDict):
    """What was used in one bucket; the fields of a group are null unless rows are by it."""

    start: Annotated[str, Field(description="Start of the bucket.")]
    agentId: str | None
    agent: Annotated[str | None, Field(description="The agent's name.")]
    model: Annotated[str | None, Field(description="Null for calls of tools, too.")]
    tool: Annotated[str | None, Field(description="Null for requests of models, too.")]
    keyId: str | None
    conversationId: str | None
    inputTokens: int
    outputTokens: int
    credits: float
    modelRequests: int
    toolCalls: Annotated[int, Field(description="Calls of tools that have a price.")]


UsagePageObject = TypedDict(
    "UsagePageObject",
    {
        "from": str,
        "to": Annotated[str, Field(description="The end of the last hour, exclusive.")],
        "bucket": Bucket,
        "groupBy": Grouping | None,
        "data": list[UsageRow],
        "hasMore": bool,
        "nextCursor": Annotated[str | None, Field(description="For `after`.")],
    },
)
"""Usage by bucket and group, oldest first; buckets without any are left out."""


async def get_usage(call: Call, services: Services) -> Response:
    """What the workspace has used: tokens and credits, from the ledger of charges.

    All work that was charged counts, also of executions that failed, were rolled back or are
    deleted. Rows are sums of whole hours.
    """
    query = call.query_as(UsageQuery)
    after, behind = query.after or (-1, "")
    request = UsageRequest(
        query.from_, query.to, query.bucket, query.group_by, query.limit, after, behind
    )
    return json_response(_page(query, await services.usage.page(call.principal, request)))


def _page(query: UsageQuery, found: Usages) -> UsagePageObject:
    last = found.rows[-1] if found.has_more else None
    return {
        "from": iso(found.start),
        "to": iso(found.end),
        "bucket": query.bucket,
        "groupBy": query.group_by,
        "data": [_row(row, query.group_by) for row in found.rows],
        "hasMore": found.has_more,
        "nextCursor": None if last is None else f"{last.start}~{last.group}",
    }


def _row(row: Consumption, grouping: Grouping | None) -> UsageRow:
    group = row.group or None
    return {
        "start": iso(row.start),
        "agentId": group if grouping is Grouping.AGENT else None,
        "agent": row.name,
        "model": group if grouping is Grouping.MODEL else None,
        "tool": group if grouping is Grouping.TOOL else None,
        "keyId": group if grouping is Grouping.KEY else None,
        "conversationId": group if grouping is Grouping.CONVERSATION else None,
        "inputTokens": row.input_tokens,
        "outputTokens": row.output_tokens,
        "credits": credits_of(row.credits),
        "modelRequests": row.model_requests,
        "toolCalls": row.tool_calls,
    }


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/usage",
        get_usage,
        scope=Scope.EXECUTIONS_READ,
        name="getUsage",
        summary="Get the workspace's usage",
        tag="usage",
        query=UsageQuery,
        answers={200: Answer("Oldest first.", UsagePageObject)},
        errors=(400,),
    ),
)
