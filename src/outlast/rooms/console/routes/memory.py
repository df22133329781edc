"""Memory stores: the list, one's items by key or by a search, an item with its versions."""

from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.error import (
    InvalidField,
    InvalidId,
    MemoryItemNotFound,
    MemoryStoreNotFound,
    OutlastError,
)
from outlast.model.ids import MEMORY, MEMORY_ITEM, parse
from outlast.model.memory import MemoryItem
from outlast.model.whole_number import number_of
from outlast.model.workspace import Scope
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.services.all import Services
from outlast.services.executions import Page
from outlast.services.memory import Search

_ROWS: Final = 50
_FOUND: Final = 20
_VERSIONS: Final = 20
_NEWEST: Final = 1 << 62
_LONGEST: Final = 1000
_READ: Final = Scope.EXECUTIONS_READ


async def stores(call: Call, services: Services) -> Response:
    """The memory stores, newest first."""
    after = call.query_params.get("after", "")
    try:
        start = parse(MEMORY, after) if after else None
    except InvalidId:
        start = None
    found, more = await services.memory.page(call.principal, Page(_ROWS, start))
    older = found[-1].id if more and found else ""
    return page(call, "memory.html", stores=found, older=older, now=services.clock.now())


async def store(call: Call, services: Services) -> Response:
    """The items of one store by key, or those that a search finds."""
    given = call.query_params
    found = await services.memory.get(call.principal, _store_id(call))
    query, prefix, after = (given.get(name, "")[:_LONGEST] for name in ("q", "prefix", "after"))
    items: list[MemoryItem] = []
    more, problem, warning = False, "", None
    try:
        if query.strip():
            wanted = Search(query, prefix, _FOUND)
            result = await services.memory.search(call.principal, found.id, wanted)
            items, warning = [one.item for one in result.items], result.warning
        else:
            items, more = await services.memory.items(
                call.principal, found.id, prefix, after, _ROWS
            )
    except OutlastError as error:  # what was written is no prefix, or no query
        problem = error.message
    later: dict[str, Any] = {"prefix": prefix, "after": items[-1].key} if more and items else {}
    return page(
        call,
        "memory_store.html",
        store=found,
        query=query,
        prefix=prefix,
        items=items,
        later=urlencode(later),
        is_first=not after,
        problem=problem,
        warning=warning,
        now=services.clock.now(),
    )


async def item(call: Call, services: Services) -> Response:
    """One item with its versions, newest first; one that is deleted has its versions alone."""
    found = await services.memory.get(call.principal, _store_id(call))
    item_id = call.path_id("itemId", MEMORY_ITEM, MemoryItemNotFound)
    given = number_of(call.query_params.get("before", ""))
    until = _NEWEST if given is None else given
    where = (call.principal, found.id, item_id)
    versions, more = await services.memory.versions(*where, until, _VERSIONS)
    try:
        newest = await services.memory.item(*where)
    except (MemoryItemNotFound, InvalidField):
        newest = None
    return page(
        call,
        "memory_item.html",
        store=found,
        item=newest,
        versions=versions,
        older=versions[-1].version if more and versions else 0,
        is_first=until == _NEWEST,
        now=services.clock.now(),
    )


def _store_id(call: Call) -> str:
    return call.path_id("storeId", MEMORY, MemoryStoreNotFound)


PAGES: Final = (
    page_at("/memory", stores, "MemoryStores", scope=_READ),
    page_at("/memory/{storeId}", store, "MemoryStore", scope=_READ),
    page_at("/memory/{storeId}/items/{itemId}", item, "MemoryItem", scope=_READ),
)
