"""Versions of a memory store's items: list, redact; with their models."""

from typing import Annotated, Final

from pydantic import BaseModel, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.spool import json_response
from outlast.model.clock import iso, iso_or_none
from outlast.model.error import MemoryItemNotFound
from outlast.model.memory import MemoryVersion, is_item_id
from outlast.model.workspace import Scope
from outlast.rooms.executions.routes.memory_items import item_response
from outlast.rooms.executions.routes.memory_stores import READERS, STORE, Writer, store_of
from outlast.rooms.executions.schemas import CAMEL
from outlast.services.all import Services

_ID: Final = STORE | {"key": "The item's id."}
_NEWEST: Final = 2**53


class VersionsQuery(BaseModel):
    """Page of an item's versions."""

    model_config = CAMEL

    after: Annotated[
        int, Field(ge=1, le=_NEWEST, description="Show versions older than this one.")
    ] = _NEWEST
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class Version(TypedDict):
    """One version of an item; it never changes, but may be redacted."""

    version: int
    key: str
    content: Annotated[
        str | None, Field(description="null: the item was deleted, or the version redacted.")
    ]
    sha256: str
    createdAt: str
    writtenBy: Writer
    redactedAt: str | None


class VersionPage(TypedDict):
    """A page of an item's versions, newest first."""

    data: list[Version]
    hasMore: bool
    nextCursor: Annotated[int | None, Field(description="For `after`.")]


async def list_memory_versions(call: Call, services: Services) -> Response:
    """An item's versions with who wrote them, newest first, also of a deleted item."""
    item_id = str(call.path_params["key"])
    if not is_item_id(item_id):  # it is the key of an item that is named `versions`
        ref = f"{item_id}/versions"
        return item_response(await services.memory.item(call.principal, store_of(call), ref), 200)
    query = call.query_as(VersionsQuery)
    found, more = await services.memory.versions(
        call.principal, store_of(call), item_id, query.after, query.limit
    )
    last = found[-1].version if more else None
    return json_response(
        {"data": [version_answer(one) for one in found], "hasMore": more, "nextCursor": last}
    )


async def redact_memory_version(call: Call, services: Services) -> Response:
    """Take the content out of a version for good; who wrote it and when stays.

    The version that the item holds is refused (409): write or delete the item first.
    """
    number = str(call.path_params["version"])
    if not (number.isascii() and number.isdecimal() and len(number) <= len(str(_NEWEST))):
        raise MemoryItemNotFound("There is no such version.")
    item_id = str(call.path_params["key"])
    found = await services.memory.redact(call.principal, store_of(call), item_id, int(number))
    return json_response(version_answer(found))


def version_answer(found: MemoryVersion) -> Version:
    """Return a version as it is answered."""
    writer = found.writer
    return {
        "version": found.version,
        "key": found.key,
        "content": found.content,
        "sha256": found.sha256,
        "createdAt": iso(found.at),
        "writtenBy": {
            "executionId": writer.execution_id,
            "step": writer.step,
            "toolCallId": writer.tool_call_id,
            "keyId": writer.key_id,
        },
        "redactedAt": iso_or_none(found.redacted_at),
    }


_PATH: Final = "/v1/memory-stores/{storeId}/items"
ENDPOINTS: Final = (
    Endpoint(
        "GET",
        f"{_PATH}/{{key}}/versions",
        list_memory_versions,
        scope=READERS,
        name="listMemoryVersions",
        summary="List the versions of an item",
        tag="memory",
        parameters=_ID,
        query=VersionsQuery,
        answers={200: Answer("Newest first.", VersionPage)},
        errors=(400, 404, 422),
    ),
    Endpoint(
        "POST",
        f"{_PATH}/{{key}}/versions/{{version}}/redact",
        redact_memory_version,
        scope=Scope.AGENTS_EXECUTE,
        name="redactMemoryVersion",
        summary="Redact a version of an item",
        tag="memory",
        parameters=_ID | {"version": "The version's number."},
        answers={200: Answer("The version, without its content.", Version)},
        errors=(404, 409),
    ),
)
