"""Memory stores: create, list, read, change, delete, search; with their models."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Final, NotRequired

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.http.call import Call
from outlast.http.endpoint import IDEMPOTENCY_KEY, Answer, Endpoint
from outlast.http.parameters import read_id
from outlast.http.replays import mark_replayed
from outlast.http.spool import json_response
from outlast.model.clock import iso, iso_or_none
from outlast.model.error import MemoryStoreNotFound
from outlast.model.ids import MEMORY
from outlast.model.memory import MAX_FOUND, MAX_QUERY_CHARACTERS, MemoryItem, MemoryStore
from outlast.model.workspace import Scope
from outlast.services.all import Services
from outlast.services.executions import Page
from outlast.services.memory import StoreChanges

_CAMEL: Final = ConfigDict(alias_generator=to_camel, frozen=True)
_BODY: Final = _CAMEL | ConfigDict(strict=True)
STORE: Final = {"storeId": "The store's id."}
READERS: Final = (Scope.EXECUTIONS_READ, Scope.AGENTS_EXECUTE)

StoreId = Annotated[str, AfterValidator(partial(read_id, MEMORY))]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Description = Annotated[
    str, Field(max_length=1024, description="What the store is for; models read it.")
]
Pairs = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64)],
        Annotated[str, Field(max_length=512)],
    ],
    Field(max_length=16, description="At most 16 texts by name."),
]


class StoreBody(BaseModel):
    """A new memory store."""

    model_config = _BODY | ConfigDict(
        json_schema_extra={
            "examples": [{"name": "customers", "description": "What customers prefer"}]
        }
    )

    name: Name
    description: Description = ""
    metadata: Pairs | None = None


class StoreChangesBody(BaseModel):
    """Changes of a memory store; what is left out stays."""

    model_config = _BODY

    name: Name | None = None
    description: Description | None = None
    metadata: Pairs | None = None
    archived: Annotated[
        bool | None, Field(description="An archived store is read-only, and no execution gets it.")
    ] = None


class StoresQuery(BaseModel):
    """Page of the memory stores."""

    model_config = _CAMEL

    after: Annotated[StoreId | None, Field(description="Show stores older than this one.")] = None
    before: Annotated[StoreId | None, Field(description="Show stores newer than this one.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class SearchBody(BaseModel):
    """A search in a memory store."""

    model_config = _BODY | ConfigDict(json_schema_extra={"examples": [{"query": "vegetarian"}]})

    query: Annotated[
        str,
        Field(
            max_length=MAX_QUERY_CHARACTERS,
            description="Finds items that have all of these words; blank: all items.",
        ),
    ]
    prefix: Annotated[str, Field(description="Only keys that begin with this.")] = ""
    limit: Annotated[int, Field(ge=1, le=MAX_FOUND)] = 10


class Store(TypedDict):
    """A memory store."""

    id: Annotated[str, Field(examples=["mem_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    name: str
    description: str
    metadata: dict[str, str]
    items: int
    bytes: Annotated[int, Field(description="Of the items' contents.")]
    createdAt: str
    updatedAt: str
    archivedAt: str | None


class StorePage(TypedDict):
    """A page of the memory stores, newest first."""

    data: list[Store]
    hasMore: bool
    nextCursor: Annotated[str | None, Field(description="For `after`, or for `before` going back.")]


class Writer(TypedDict):
    """Who wrote: a tool call of an execution, or a request with a key."""

    executionId: str | None
    step: int | None
    toolCallId: str | None
    keyId: str | None


class Item(TypedDict):
    """An item of a memory store."""

    id: Annotated[str, Field(examples=["item_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    storeId: str
    key: Annotated[str, Field(examples=["customers/anna"])]
    content: NotRequired[str]
    metadata: dict[str, str]
    sha256: Annotated[str, Field(description="Of the content; also its ETag.")]
    bytes: int
    version: int
    createdAt: str
    updatedAt: str
    writtenBy: Writer


class Found(TypedDict):
    """What a search has found, newest first."""

    data: list[Item]


async def create_memory_store(call: Call, services: Services) -> Response:
    """Create a memory store: texts by key that outlast executions."""
    body = await call.body_as(StoreBody)
    made, replayed = await services.memory.create(
        call.principal, body.name, body.description, body.metadata, await call.idempotency()
    )
    location = {"Location": call.link(f"/v1/memory-stores/{made.id}")}
    response = json_response(store_answer(made), 201, location)
    return mark_replayed(response) if replayed else response


async def list_memory_stores(call: Call, services: Services) -> Response:
    """The workspace's memory stores, newest first, archived ones too."""
    query = call.query_as(StoresQuery)
    page = Page(query.limit, query.after, query.before)
    found, more = await services.memory.page(call.principal, page)
    return json_response(_page(found, more=more, backwards=page.backwards))


async def get_memory_store(call: Call, services: Services) -> Response:
    """One memory store."""
    return json_response(store_answer(await services.memory.get(call.principal, store_of(call))))


async def update_memory_store(call: Call, services: Services) -> Response:
    """Change a memory store, archive it, or take it back into use."""
    body = await call.body_as(StoreChangesBody)
    changes = StoreChanges(body.name, body.description, body.metadata, body.archived)
    changed = await services.memory.update(call.principal, store_of(call), changes)
    return json_response(store_answer(changed))


async def delete_memory_store(call: Call, services: Services) -> Response:
    """Delete a memory store for good, with its items and all their versions."""
    await services.memory.delete(call.principal, store_of(call))
    return Response(status_code=204)


async def search_memory_store(call: Call, services: Services) -> Response:
    """Find the items that have all words of a query, the newest first.

    Case, accents and punctuation do not count; any text is a query. Keys are searched too.
    """
    body = await call.body_as(SearchBody)
    found = await services.memory.search(
        call.principal, store_of(call), body.query, body.prefix, body.limit
    )
    return json_response({"data": [item_of(one) for one in found]})


def store_of(call: Call) -> str:
    """Return the store's id in the path. Raises MemoryStoreNotFound."""
    return call.path_id("storeId", MEMORY, MemoryStoreNotFound)


def item_of(found: MemoryItem, *, content: bool = True) -> Item:
    """Render an item."""
    writer = found.writer
    item: Item = {
        "id": found.id,
        "storeId": found.store_id,
        "key": found.key,
        "metadata": found.metadata,
        "sha256": found.sha256,
        "bytes": found.bytes,
        "version": found.version,
        "createdAt": iso(found.created_at),
        "updatedAt": iso(found.updated_at),
        "writtenBy": {
            "executionId": writer.execution_id,
            "step": writer.step,
            "toolCallId": writer.tool_call_id,
            "keyId": writer.key_id,
        },
    }
    if content:
        item["content"] = found.content
    return item


def store_answer(found: MemoryStore) -> Store:
    """Render a store."""
    return {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "metadata": found.metadata,
        "items": found.items,
        "bytes": found.bytes,
        "createdAt": iso(found.created_at),
        "updatedAt": iso(found.updated_at),
        "archivedAt": iso_or_none(found.archived_at),
    }


def _page(found: Sequence[MemoryStore], *, more: bool, backwards: bool) -> StorePage:
    last = found[0 if backwards else -1].id if more else None
    return {"data": [store_answer(one) for one in found], "hasMore": more, "nextCursor": last}


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/memory-stores",
        create_memory_store,
        scope=Scope.AGENTS_EXECUTE,
        name="createMemoryStore",
        summary="Create a memory store",
        tag="memory",
        headers=(IDEMPOTENCY_KEY,),
        body=StoreBody,
        answers={201: Answer("The store.", Store)},
        errors=(400, 404, 422),
    ),
    Endpoint(
        "GET",
        "/v1/memory-stores",
        list_memory_stores,
        scope=READERS,
        name="listMemoryStores",
        summary="List memory stores",
        tag="memory",
        query=StoresQuery,
        answers={200: Answer("Newest first.", StorePage)},
        errors=(400,),
    ),
    Endpoint(
        "GET",
        "/v1/memory-stores/{storeId}",
        get_memory_store,
        scope=READERS,
        name="getMemoryStore",
        summary="Get a memory store",
        tag="memory",
        parameters=STORE,
        answers={200: Answer("The store.", Store)},
        errors=(404,),
    ),
    Endpoint(
        "PATCH",
        "/v1/memory-stores/{storeId}",
        update_memory_store,
        scope=Scope.AGENTS_EXECUTE,
        name="updateMemoryStore",
        summary="Change a memory store",
        tag="memory",
        parameters=STORE,
        body=StoreChangesBody,
        answers={200: Answer("The store.", Store)},
        errors=(400, 404, 422),
    ),
    Endpoint(
        "DELETE",
        "/v1/memory-stores/{storeId}",
        delete_memory_store,
        scope=Scope.AGENTS_EXECUTE,
        name="deleteMemoryStore",
        summary="Delete a memory store",
        tag="memory",
        parameters=STORE,
        answers={204: Answer("It is gone.")},
        errors=(404,),
    ),
    Endpoint(
        "POST",
        "/v1/memory-stores/{storeId}/search",
        search_memory_store,
        scope=READERS,
        name="searchMemoryStore",
        summary="Search a memory store",
        tag="memory",
        parameters=STORE,
        body=SearchBody,
        answers={200: Answer("Newest first.", Found)},
        errors=(400, 404, 422),
    ),
)
