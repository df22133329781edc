"""The search of a memory store, with its models."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.spool import json_response
from outlast.model.embedding import Found as SearchResult
from outlast.model.embedding import SearchMode
from outlast.model.memory import MAX_FOUND, MAX_QUERY_CHARACTERS
from outlast.rooms.executions.routes.memory_stores import READERS, STORE, Item, item_of, store_of
from outlast.rooms.executions.schemas import BODY
from outlast.services.all import Services
from outlast.services.memory import Search


class SearchBody(BaseModel):
    """A search in a memory store."""

    model_config = BODY | ConfigDict(json_schema_extra={"examples": [{"query": "vegetarian"}]})

    query: Annotated[
        str,
        Field(
            max_length=MAX_QUERY_CHARACTERS,
            description="Words that items must have, or what they are about; blank: all items.",
        ),
    ]
    prefix: Annotated[str, Field(description="Only keys that begin with this.")] = ""
    limit: Annotated[int, Field(ge=1, le=MAX_FOUND)] = 10
    mode: Annotated[
        Literal["text", "semantic", "hybrid"] | None,
        Field(
            description="text: all words, newest first; semantic: nearest by meaning; hybrid: both "
            "by reciprocal rank fusion. Default: hybrid if the store has an embedding model."
        ),
    ] = None


class FoundItem(Item):
    """An item that a search has found."""

    foundBy: Annotated[  # noqa: N815 - a key of JSON
        list[Literal["text", "semantic"]], Field(description="The searches that found it.")
    ]
    similarity: Annotated[
        float | None, Field(description="Cosine of its vector with the query's; null: unknown.")
    ]


class Found(TypedDict):
    """What a search has found: by text the newest first, otherwise the best first."""

    data: list[FoundItem]
    mode: Annotated[
        Literal["text", "semantic", "hybrid"], Field(description="The mode that was used.")
    ]
    warning: Annotated[str | None, Field(description="Why a hybrid search found by words alone.")]


async def search_memory_store(call: Call, services: Services) -> Response:
    """Find the items that have all words of a query, or those nearest to it in meaning, or both.

    Of words, case, accents and punctuation do not count; any text is a query. Keys are searched
    too.
    """
    body = await call.body_as(SearchBody)
    mode = None if body.mode is None else SearchMode(body.mode)
    wanted = Search(body.query, body.prefix, body.limit, mode)
    found = await services.memory.search(call.principal, store_of(call), wanted)
    return json_response(found_answer(found))


_SOURCES: Final[dict[SearchMode, Literal["text", "semantic"]]] = {
    SearchMode.TEXT: "text",
    SearchMode.SEMANTIC: "semantic",
}


def found_answer(found: SearchResult) -> Found:
    """Render what a search has found."""
    return {
        "data": [
            {
                **item_of(one.item),
                "foundBy": [_SOURCES[mode] for mode in one.by],
                "similarity": one.similarity,
            }
            for one in found.items
        ],
        "mode": found.mode.value,
        "warning": found.warning,
    }


ENDPOINTS: Final = (
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
        answers={200: Answer("By text the newest first, otherwise the best first.", Found)},
        errors=(400, 404, 422, 502),
    ),
)
