"""`outlast memory`: memory stores through the server, or in the database if none answers."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from typer import Argument, Option, Typer, echo

from outlast.cli.options import AsJson
from outlast.cli.output import note, shorten, write_json, write_table
from outlast.cli.through import Server, through_server
from outlast.model.error import InvalidRequest, MemoryStoreNotFound
from outlast.model.memory import is_item_id
from outlast.settings import Settings

if TYPE_CHECKING:
    from outlast.cli.memory_database import MemoryDatabase
    from outlast.client import MemoryClient

T = TypeVar("T")

memory = Typer(
    help="Memory stores: create, list, search, put, redact, export.",
    no_args_is_help=True,
)

_PAGE: Final = 100
Store = Annotated[str, Argument(help="The store's name or id: mem_…", metavar="STORE")]
Key = Annotated[str, Argument(help="The item's key or id.", metavar="KEY")]
Prefix = Annotated[str, Option(help="Only keys that begin with this.")]


@memory.command("create")
@through_server("database_url")
def create(
    server: Server,
    name: Annotated[str, Argument(help="The store's name.", metavar="NAME")],
    *,
    description: Annotated[str, Option(help="What it is for; models read it.")] = "",
    embedding: Annotated[
        str | None,
        Option(help="Embedding model, for good: openai-embeddings:NAME, local:all-minilm-l6-v2 …"),
    ] = None,
    json: AsJson = False,
) -> None:
    """Create a memory store."""

    async def make(stores: "Stores") -> Any:
        return await stores.create(name, description, embedding=embedding)

    made = asyncio.run(_with(server, make))
    if json:
        write_json(made)
    else:
        echo(f"{made['name']}\t{made['id']}")


@memory.command("list")
@through_server("database_url")
def list_stores(server: Server, *, json: AsJson = False) -> None:
    """List the memory stores, newest first."""
    stores = asyncio.run(_with(server, _stores))
    if json:
        write_json(stores)
        return
    write_table(
        ["name", "id", "items", "bytes", "embedding", "archived", "description"],
        [
            (
                row["name"],
                row["id"],
                row["items"],
                row["bytes"],
                _embedding(row["embedding"]),
                row["archivedAt"] or "",
                shorten(row["description"]),
            )
            for row in stores
        ],
    )


@memory.command("show")
@through_server("database_url")
def show(
    server: Server,
    store: Store,
    key: Annotated[str | None, Argument(help="An item's key or id; default: all keys.")] = None,
    *,
    prefix: Prefix = "",
    json: AsJson = False,
) -> None:
    """Show the items of a store, or the content of one."""

    async def read(stores: "Stores") -> Any:
        found = await _named(stores, store)
        if key is not None:
            return await stores.item(found["id"], key)
        return [item async for item in _items(stores, found["id"], prefix, full=False)]

    found = asyncio.run(_with(server, read))
    if json:
        write_json(found)
    elif key is not None:
        echo(found["content"])
    else:
        _write_items(found)


@memory.command("search")
@through_server("database_url")
def search(
    server: Server,
    store: Store,
    query: Annotated[str, Argument(help="Words, or what items are to be about.", metavar="QUERY")],
    *,
    prefix: Prefix = "",
    limit: Annotated[int, Option(min=1, max=50, help="Maximum number of items.")] = 10,
    mode: Annotated[
        str | None,
        Option(help="text, semantic or hybrid; default: hybrid if the store has a model."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Find items by words, or by meaning."""

    async def find(stores: "Stores") -> Any:
        found = await _named(stores, store)
        return await stores.search(found["id"], query, prefix=prefix, limit=limit, mode=mode)

    found = asyncio.run(_with(server, find))
    if found["warning"]:
        note(found["warning"])
    if json:
        write_json(found["data"])
    else:
        _write_items(found["data"])


@memory.command("put")
@through_server("database_url")
def put(
    server: Server,
    store: Store,
    key: Annotated[str, Argument(help="The item's key, such as customers/anna.", metavar="KEY")],
    content: Annotated[
        str | None, Argument(help="The text; default: the standard input.", metavar="[CONTENT]")
    ] = None,
    *,
    json: AsJson = False,
) -> None:
    """Write an item; what its key held before stays as a version."""
    text = _standard_input() if content is None else content

    async def write(stores: "Stores") -> Any:
        found = await _named(stores, store)
        return await stores.put(found["id"], key, text)

    item = asyncio.run(_with(server, write))
    if json:
        write_json(item)
    else:
        echo(f"{item['key']}\tversion {item['version']}\t{item['id']}")


@memory.command("versions")
@through_server("database_url")
def versions(server: Server, store: Store, key: Key, *, json: AsJson = False) -> None:
    """List the newest versions of an item; of a deleted one by its id."""

    async def read(stores: "Stores") -> Any:
        found = await _named(stores, store)
        item_id = await _item_id(stores, found["id"], key)
        return (await stores.versions(found["id"], item_id, limit=_PAGE))["data"]

    found = asyncio.run(_with(server, read))
    if json:
        write_json(found)
        return
    write_table(
        ["version", "written", "by", "content"],
        [
            (
                row["version"],
                row["createdAt"],
                row["writtenBy"]["executionId"] or row["writtenBy"]["keyId"],
                _content_of(row),
            )
            for row in found
        ],
    )


@memory.command("redact")
@through_server("database_url")
def redact(
    server: Server,
    store: Store,
    key: Key,
    version: Annotated[int, Argument(help="Its number; see versions.", metavar="VERSION")],
    *,
    json: AsJson = False,
) -> None:
    """Take the content out of a version, for good.

    Who wrote it and when stays. Write or delete the item first if the version is what it holds.
    """

    async def take(stores: "Stores") -> Any:
        found = await _named(stores, store)
        item_id = await _item_id(stores, found["id"], key)
        return await stores.redact(found["id"], item_id, version)

    found = asyncio.run(_with(server, take))
    if json:
        write_json(found)
    else:
        echo(f"Version {found['version']} of {found['key']} is redacted.")


@memory.command("export")
@through_server("database_url")
def export(server: Server, store: Store, *, prefix: Prefix = "") -> None:
    """Write all items of a store, one as JSON on each line."""
    import orjson

    async def write(stores: "Stores") -> None:
        found = await _named(stores, store)
        async for item in _items(stores, found["id"], prefix, full=True):
            echo(orjson.dumps(item).decode())

    asyncio.run(_with(server, write))


if TYPE_CHECKING:
    Stores = MemoryClient | MemoryDatabase


async def _with(server: Server, use: "Callable[[Stores], Awaitable[T]]") -> T:
    """Use the server's stores, or the database's if no server answers and none was named."""
    from outlast.client import Unreachable

    try:
        async with server.client() as client:
            return await use(client.memory)
    except Unreachable as error:
        if server.url is not None:
            raise
        note(f"{error} Using the database instead.")
    async with _database(server.settings) as stores:
        return await use(stores)


@asynccontextmanager
async def _database(chosen: Settings) -> "AsyncIterator[MemoryDatabase]":
    from outlast.agents.embeddings.catalogue import Embedders
    from outlast.agents.models.catalogue import ModelCatalogue
    from outlast.agents.prices.price_list import PriceList
    from outlast.cli.memory_database import MemoryDatabase
    from outlast.cli.state import opened, workspace_of

    async with opened(chosen, make=False) as state:
        workspace_id = await workspace_of(chosen, state)
        embedders = Embedders(state.clock, chosen.data_dir, providers=chosen.providers)
        models = ModelCatalogue(state.clock, chosen.data_dir, providers=chosen.providers)
        prices = PriceList(chosen.prices, models, state.clock)
        try:
            yield MemoryDatabase(state.store, state.clock, workspace_id, embedders, prices)
        finally:
            await embedders.close()


async def _stores(stores: "Stores") -> list[dict[str, Any]]:
    """Return all stores, newest first."""
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page: Any = await stores.list(limit=_PAGE, after=after)
        found += page["data"]
        if not page["hasMore"]:
            return found
        after = page["nextCursor"]


async def _named(stores: "Stores", ref: str) -> dict[str, Any]:
    """Return the store of a name or id. Raises MemoryStoreNotFound, InvalidRequest."""
    fitting = [one for one in await _stores(stores) if ref in (one["id"], one["name"])]
    if not fitting:
        raise MemoryStoreNotFound(f"There is no memory store {ref!r}. See: outlast memory list")
    if len(fitting) > 1:
        ids = ", ".join(one["id"] for one in fitting)
        raise InvalidRequest(f"Several memory stores are called {ref!r}; name one by its id: {ids}")
    return fitting[0]


async def _item_id(stores: "Stores", store_id: str, key: str) -> str:
    """Return the id of the item of this key, or the id that it is."""
    return key if is_item_id(key) else str((await stores.item(store_id, key))["id"])


async def _items(
    stores: "Stores", store_id: str, prefix: str, *, full: bool
) -> AsyncIterator[dict[str, Any]]:
    """Yield the items of a store by key."""
    after = ""
    while True:
        page: Any = await stores.items(store_id, prefix=prefix, after=after, limit=_PAGE, full=full)
        for item in page["data"]:
            yield item
        if not page["hasMore"]:
            return
        after = page["nextCursor"]


def _write_items(items: list[dict[str, Any]]) -> None:
    write_table(
        ["key", "updated", "version", "bytes", "content"],
        [
            (
                row["key"],
                row["updatedAt"],
                row["version"],
                row["bytes"],
                shorten(row.get("content", "")),
            )
            for row in items
        ],
    )


def _content_of(version: dict[str, Any]) -> str:
    if version["redactedAt"] is not None:
        return f"(redacted {version['redactedAt']})"
    return "(deleted)" if version["content"] is None else shorten(version["content"])


def _embedding(state: dict[str, Any] | None) -> str:
    """Return a store's embedding model, and how many items wait for it."""
    if state is None:
        return ""
    waiting = f", {state['pending']} pending" if state["pending"] else ""
    failing = ", failing" if state["error"] else ""
    return f"{state['model']}{waiting}{failing}"


def _standard_input() -> str:
    """Return the text of the standard input. Raises InvalidRequest if it is no UTF-8."""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("The content is not UTF-8.") from error
