"""Items of a memory store: write, list, read, change, delete; with their models."""

import re
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.spool import json_response
from outlast.model.error import InvalidRequest
from outlast.model.memory import MemoryItem
from outlast.model.workspace import Scope
from outlast.rooms.executions.routes.memory_stores import (
    READERS,
    STORE,
    Item,
    Pairs,
    item_of,
    store_of,
)
from outlast.rooms.executions.schemas import BODY, CAMEL
from outlast.services.all import Services
from outlast.services.memory import ItemWrite

_ITEM: Final = STORE | {"key": "The item's key, slashes included; or its id."}
_TAG: Final = re.compile(r'\s*(\*|(?:W/)?"([^"]*)")\s*(,|$)')
_PAGE_BYTES: Final = 4 * 1024 * 1024
"""Contents of a page with contents; a page ends early where it has become larger."""

IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "description": "ETags of which the item must have one, or `*`; otherwise 412.",
    "schema": {"type": "string"},
}
IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "description": "`*`: only if there is no such item; otherwise 412.",
    "schema": {"type": "string", "enum": ["*"]},
}


class ItemBody(BaseModel):
    """What an item is to hold."""

    model_config = BODY | ConfigDict(json_schema_extra={"examples": [{"content": "Vegetarian."}]})

    content: Annotated[str, Field(description="At most 102,400 bytes of UTF-8.")]
    metadata: Annotated[
        Pairs | None, Field(description="Without it, as it is, or empty if the item is new.")
    ] = None


class ItemChangesBody(BaseModel):
    """Changes of an item; what is left out stays."""

    model_config = BODY

    key: Annotated[str | None, Field(description="Renames the item; its id stays.")] = None
    content: Annotated[str | None, Field(description="At most 102,400 bytes of UTF-8.")] = None
    metadata: Pairs | None = None


class ItemsQuery(BaseModel):
    """Page of the items."""

    model_config = CAMEL

    prefix: Annotated[str, Field(description="Only keys that begin with this.")] = ""
    after: Annotated[str, Field(description="The nextCursor of the page before: a key.")] = ""
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    full: Annotated[
        bool, Field(description="Show contents too; a page then ends early where it is large.")
    ] = False


class PurgeQuery(BaseModel):
    """How an item is deleted."""

    model_config = CAMEL

    purge: Annotated[bool, Field(description="Delete its versions too, for good.")] = False


class ItemPage(TypedDict):
    """A page of the items, by key."""

    data: list[Item]
    hasMore: bool
    nextCursor: str | None


async def put_memory_item(call: Call, services: Services) -> Response:
    """Write an item by its key: a new one (201), or the next version of the one that is there."""
    body = await call.body_as(ItemBody)
    wanted = ItemWrite(
        body.content, body.metadata, None, _tags(call, "If-Match"), _none_match(call)
    )
    written = await services.memory.write(call.principal, store_of(call), _ref(call), wanted)
    assert written.item is not None
    return item_response(written.item, 201 if written.created else 200)


async def list_memory_items(call: Call, services: Services) -> Response:
    """The items by key, without their contents unless `full`."""
    query = call.query_as(ItemsQuery)
    found, more = await services.memory.items(
        call.principal, store_of(call), query.prefix, query.after, query.limit
    )
    shown: list[Item] = []
    size = 0
    for one in found:
        size += one.bytes if query.full else 0
        if shown and size > _PAGE_BYTES:
            more = True
            break
        shown.append(item_of(one, content=query.full))
    last = shown[-1]["key"] if more else None
    return json_response({"data": shown, "hasMore": more, "nextCursor": last})


async def get_memory_item(call: Call, services: Services) -> Response:
    """One item, by its key or id."""
    found = await services.memory.item(call.principal, store_of(call), _ref(call))
    return item_response(found, 200)


async def update_memory_item(call: Call, services: Services) -> Response:
    """Change an item, or rename it; its id stays.

    With `If-Match` only if it is what the request expects, or is already as it would become.
    """
    body = await call.body_as(ItemChangesBody)
    wanted = ItemWrite(body.content, body.metadata, body.key, _tags(call, "If-Match"))
    written = await services.memory.change(call.principal, store_of(call), _ref(call), wanted)
    return item_response(written, 200)


async def delete_memory_item(call: Call, services: Services) -> Response:
    """Delete an item. Its versions stay readable by its id, unless they are purged."""
    query = call.query_as(PurgeQuery)
    await services.memory.delete_item(
        call.principal,
        store_of(call),
        _ref(call),
        matching=_tags(call, "If-Match"),
        purge=query.purge,
    )
    return Response(status_code=204)


def _ref(call: Call) -> str:
    return str(call.path_params["key"])


def item_response(item: MemoryItem, status: int) -> Response:
    """Return an item with its ETag."""
    return json_response(item_of(item), status, {"ETag": f'"{item.sha256}"'})


def _tags(call: Call, name: str) -> tuple[str, ...] | None:
    """Return the ETags of a header (RFC 9110, 13.1.1); None without it. Raises InvalidRequest."""
    sent = call.headers.getlist(name)
    if not sent:
        return None
    text, at, tags = ",".join(sent), 0, []
    while at < len(text):
        found = _TAG.match(text, at)
        if found is None:
            raise InvalidRequest(f'{name} is a list of ETags such as "sha256", or *.', param=name)
        tags.append(found[2] if found[2] is not None else "*")
        at = found.end()
    return tuple(tags)


def _none_match(call: Call) -> bool:
    """Whether the item must not exist. Raises InvalidRequest."""
    tags = _tags(call, "If-None-Match")
    if tags is None:
        return False
    if tags != ("*",):
        raise InvalidRequest("If-None-Match takes * alone.", param="If-None-Match")
    return True


_PATH: Final = "/v1/memory-stores/{storeId}/items"
ENDPOINTS: Final = (
    Endpoint(
        "GET",
        _PATH,
        list_memory_items,
        scope=READERS,
        name="listMemoryItems",
        summary="List the items of a memory store",
        tag="memory",
        parameters=STORE,
        query=ItemsQuery,
        answers={200: Answer("By key.", ItemPage)},
        errors=(400, 404, 422),
    ),
    Endpoint(
        "GET",
        f"{_PATH}/{{key}}",
        get_memory_item,
        scope=READERS,
        name="getMemoryItem",
        summary="Get an item of a memory store",
        tag="memory",
        parameters=_ITEM,
        rest="key",
        answers={200: Answer("The item.", Item)},
        errors=(404, 422),
    ),
    Endpoint(
        "PUT",
        f"{_PATH}/{{key}}",
        put_memory_item,
        scope=Scope.AGENTS_EXECUTE,
        name="putMemoryItem",
        summary="Write an item of a memory store",
        tag="memory",
        parameters=_ITEM,
        headers=(IF_MATCH, IF_NONE_MATCH),
        rest="key",
        body=ItemBody,
        answers={
            200: Answer("The item in its next version.", Item),
            201: Answer("The new item.", Item),
        },
        errors=(400, 404, 409, 412, 422),
    ),
    Endpoint(
        "PATCH",
        f"{_PATH}/{{key}}",
        update_memory_item,
        scope=Scope.AGENTS_EXECUTE,
        name="updateMemoryItem",
        summary="Change an item of a memory store",
        tag="memory",
        parameters=_ITEM,
        headers=(IF_MATCH,),
        rest="key",
        body=ItemChangesBody,
        answers={200: Answer("The item.", Item)},
        errors=(400, 404, 409, 412, 422),
    ),
    Endpoint(
        "DELETE",
        f"{_PATH}/{{key}}",
        delete_memory_item,
        scope=Scope.AGENTS_EXECUTE,
        name="deleteMemoryItem",
        summary="Delete an item of a memory store",
        tag="memory",
        parameters=_ITEM,
        query=PurgeQuery,
        headers=(IF_MATCH,),
        rest="key",
        answers={204: Answer("It is gone.")},
        errors=(400, 404, 409, 412, 422),
    ),
)
