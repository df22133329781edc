"""Memory stores: create, list, read, change, delete; with their models."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Final, NotRequired

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.http.call import Call
from outlast.http.endpoint import IDEMPOTENCY_KEY, Answer, Endpoint
from outlast.http.parameters import read_id
from outlast.http.replays import mark_replayed
from outlast.http.spool import json_response
from outlast.model.clock import iso, iso_or_none
from outlast.model.embedding import MAX_MODEL_NAME
from outlast.model.error import MemoryStoreNotFound
from outlast.model.ids import MEMORY
from outlast.model.memory import MAX_DESCRIPTION, MAX_NAME, EmbeddingState, MemoryItem, MemoryStore
from outlast.model.workspace import Scope
from outlast.rooms.executions.schemas import BODY, CAMEL
from outlast.services.all import Services
from outlast.services.executions import Page
from outlast.services.memory import StoreChanges

STORE: Final = {"storeId": "The store's id."}
READERS: Final = (Scope.EXECUTIONS_READ, Scope.AGENTS_EXECUTE)

StoreId = Annotated[str, AfterValidator(partial(read_id, MEMORY))]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Description = Annotated[
    str, Field(max_length=MAX_DESCRIPTION, description="What the store is for; models read it.")
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

    model_config = BODY | ConfigDict(
        json_schema_extra={
            "examples": [{"name": "customers", "description": "What customers prefer"}]
        }
    )

    name: Name
    description: Description = ""
    metadata: Pairs | None = None
    embedding: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_MODEL_NAME,
            description="The embedding model, for good: openai-embeddings:NAME, PROVIDER:NAME or "
            "local:all-minilm-l6-v2. Without one, the store is searched by words alone.",
        ),
    ] = None


class StoreChangesBody(BaseModel):
    """Changes of a memory store; what is left out stays."""

    model_config = BODY

    name: Name | None = None
    description: Description | None = None
    metadata: Pairs | None = None
    archived: Annotated[
        bool | None, Field(description="An archived store is read-only, and no execution gets it.")
    ] = None


class StoresQuery(BaseModel):
    """Page of the memory stores."""

    model_config = CAMEL

    after: Annotated[StoreId | None, Field(description="Show stores older than this one.")] = None
    before: Annotated[StoreId | None, Field(description="Show stores newer than this one.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class Embedding(TypedDict):
    """A store's embedding model, and how far its items have vectors."""

    model: str
    dimensions: Annotated[int | None, Field(description="null until there is a vector.")]
    pending: Annotated[int, Field(description="Items that only their words find as yet.")]
    error: Annotated[str | None, Field(description="Why the last try failed; it is repeated.")]


class Store(TypedDict):
    """A memory store."""

    id: Annotated[str, Field(examples=["mem_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    name: str
    description: str
    metadata: dict[str, str]
    items: int
    bytes: Annotated[int, Field(description="Of the items' contents.")]
    embedding: Annotated[
        Embedding | None, Field(description="null: the store is searched by words alone.")
    ]
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


async def create_memory_store(call: Call, services: Services) -> Response:
    """Create a memory store: texts by key that outlast executions."""
    body = await call.body_as(StoreBody)
    made, replayed = await services.memory.create(
        call.principal,
        body.name,
        body.description,
        body.metadata,
        await call.idempotency(),
        body.embedding,
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


def _embedding(state: EmbeddingState | None) -> Embedding | None:
    if state is None:
        return None
    return {
        "model": state.model,
        "dimensions": state.dimensions,
        "pending": state.pending,
        "error": state.error,
    }


def store_answer(found: MemoryStore) -> Store:
    """Render a store."""
    return {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "metadata": found.metadata,
        "items": found.items,
        "bytes": found.bytes,
        "embedding": _embedding(found.embedding),
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
)
