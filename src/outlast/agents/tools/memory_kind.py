"""The kind `memory`: the tools of an execution's memory stores, which no file names.

They are added for executions that have stores (see `engine.segment.memory`). Reading and searching
happen when they are called; a write is put into the context, and takes effect in the transaction
that records the call.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from outlast.agents.embeddings.port import Embedded
from outlast.agents.memory_search import Search
from outlast.agents.port import ToolContext
from outlast.agents.tools.kind import Draft, Resources, ToolEntry, ToolKind
from outlast.model.agent import AgentSpec, Effect, ToolSpec
from outlast.model.clock import iso
from outlast.model.embedding import MAX_EMBEDDED, SearchMode, checked_mode, embedded_text
from outlast.model.error import (
    InvalidField,
    MemoryItemNotFound,
    MemoryStoreNotFound,
    ToolFailed,
    Upstream,
)
from outlast.model.ids import MEMORY_ITEM
from outlast.model.memory import (
    MAX_FOUND,
    Access,
    MemoryAccess,
    MemoryItem,
    MemoryStore,
    MemoryWrite,
    checked_content,
    checked_key,
)
from outlast.model.text import storable
from outlast.model.usage import estimate_tokens

if TYPE_CHECKING:
    from outlast.store.memory.store import Memories

KEY: Final = "memory"
_VERB: Final = "verb"
_MODELS: Final = "models"
_SEARCH: Final = "search"
_FOUND: Final = 10
_SHOWN: Final = 2000
"""Characters of a content that a search shows."""


@dataclass(frozen=True, slots=True)
class HeldStore:
    """A memory store that an execution has, as it is now."""

    store: MemoryStore
    access: Access

    @property
    def is_writable(self) -> bool:
        """Whether the execution may write to it."""
        return self.access is Access.READ_WRITE and self.store.archived_at is None


def with_memory_tools(spec: AgentSpec, held: Sequence[HeldStore]) -> AgentSpec:
    """Return an agent with the tools for these stores; a tool of its own keeps its name."""
    tools = [tool for tool in memory_tools(held) if spec.tool(tool.name) is None]
    return replace(spec, tools=(*spec.tools, *tools))


def memory_tools(held: Sequence[HeldStore]) -> tuple[ToolSpec, ...]:
    """Return the tools for these stores; those that write only if one is writable."""
    if not held:
        return ()
    names = [one.store.name for one in held]
    writable = [one.store.name for one in held if one.is_writable]
    tools = (
        _tool(
            _SEARCH,
            _search_description(held),
            {
                "query": {"type": "string", "description": _query_description(held)},
                "store": _store(names, "all stores"),
                "prefix": {"type": "string", "description": "Only keys that begin with this"},
                "limit": {"type": "integer", "minimum": 1, "maximum": MAX_FOUND},
                **_mode(held),
            },
            ("query",),
            models=_models(held),
        ),
        _tool(
            "read",
            "Read one item of the memory, whole.",
            {"key": _KEY_OF_ITEM, "store": _store(names)},
            _required(names, "key"),
        ),
    )
    if not writable:
        return tools
    return (
        *tools,
        _tool(
            "write",
            "Write an item to the memory; what the key held before is replaced.",
            {
                "key": _KEY_OF_ITEM,
                "content": {"type": "string", "description": "The whole new text"},
                "store": _store(writable),
            },
            _required(writable, "key", "content"),
            Effect.IDEMPOTENT,
            _models([one for one in held if one.is_writable]),
        ),
        _tool(
            "delete",
            "Delete an item from the memory.",
            {"key": _KEY_OF_ITEM, "store": _store(writable)},
            _required(writable, "key"),
            Effect.IDEMPOTENT,
        ),
    )


def _is_semantic(held: Sequence[HeldStore]) -> bool:
    return any(one.store.embedding is not None for one in held)


def _search_description(held: Sequence[HeldStore]) -> str:
    if _is_semantic(held):
        return (
            "Search the memory by meaning and by words: returns the best items first. An empty "
            "query lists the newest items."
        )
    return (
        "Search the memory: returns the items that have all words of the query, newest first. An "
        "empty query lists the newest items."
    )


def _query_description(held: Sequence[HeldStore]) -> str:
    if _is_semantic(held):
        return "What to find: a question, a description or words"
    return "Words to find, in keys and contents"


def _mode(held: Sequence[HeldStore]) -> dict[str, Any]:
    """Return the parameter of the mode, if there is a choice."""
    if not _is_semantic(held):
        return {}
    what = "hybrid (default), text: all words, newest first; semantic: by meaning alone"
    return {"mode": {"type": "string", "enum": [*SearchMode], "description": what}}


_KEY_OF_ITEM: Final = {"type": "string", "description": "Key of the item, such as customers/anna"}


def _store(names: Sequence[str], default: str = "the only one") -> dict[str, Any]:
    listed = ", ".join(names)
    rest = f"; {default} if left out" if len(names) == 1 or default != "the only one" else ""
    return {"type": "string", "description": f"Name of the store: {listed}{rest}"}


def _required(names: Sequence[str], *others: str) -> tuple[str, ...]:
    return others if len(names) == 1 else (*others, "store")


def _tool(
    verb: str,
    description: str,
    properties: dict[str, Any],
    required: Sequence[str],
    effect: Effect = Effect.READ_ONLY,
    models: Sequence[str] = (),
) -> ToolSpec:
    """`models`: the embedding models that a call may need."""
    parameters = {
        "type": "object",
        "properties": properties,
        "required": [*required],
        "additionalProperties": False,
    }
    kept = {_VERB: verb, _MODELS: models}
    return ToolSpec(f"{KEY}_{verb}", description, parameters, effect, other={KEY: kept})


def _models(held: Sequence[HeldStore]) -> list[str]:
    return sorted({one.store.embedding.model for one in held if one.store.embedding is not None})


def embedding_models(tools: Iterable[ToolSpec]) -> set[str]:
    """Return the embedding models that calls of these tools may need."""
    return {model for tool in tools if KEY in tool.other for model in tool.other[KEY][_MODELS]}


def may_embed(tool: ToolSpec, arguments: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the requests that a call may make, at most: each one's model and estimated tokens."""
    kept = tool.other.get(KEY)
    if kept is None or not kept[_MODELS]:
        return []
    if kept[_VERB] == _SEARCH:
        text = str(arguments.get("query", ""))[:MAX_EMBEDDED]
    else:
        text = embedded_text(str(arguments.get("key", "")), str(arguments.get("content", "")))
    return [(model, estimate_tokens(text)) for model in kept[_MODELS]]


class MemoryRunner:
    """Runs the tools of memory stores."""

    def __init__(self, resources: Resources) -> None:
        self._clock = resources.clock
        self._state = resources.store
        self._found = resources.search

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        if self._state is None:
            raise ToolFailed("This process has no memory stores.")
        stores = context.memory_stores
        held = await held_stores(self._state.memories, context.workspace_id, stores)
        arguments = storable(arguments)
        try:
            match spec.other[KEY][_VERB]:
                case verb if verb == _SEARCH:
                    return await self._search(held, arguments, context)
                case "read":
                    return await self._read(held, arguments, context)
                case verb:
                    return await self._write(held, arguments, context, deleted=verb == "delete")
        except InvalidField as error:
            cause = "An argument has a value that it cannot have."
            raise ToolFailed(error.message, cause=cause) from error
        except MemoryStoreNotFound as error:
            raise ToolFailed("The memory store was deleted.") from error
        except Upstream as error:
            raise ToolFailed(f"The search failed: {error.message}") from error

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def _search(
        self, held: list[HeldStore], arguments: dict[str, Any], context: ToolContext
    ) -> Any:
        assert self._found is not None
        chosen = [_chosen(held, arguments)] if "store" in arguments else held
        names = {one.store.id: one.store.name for one in chosen}
        wanted = Search(
            arguments["query"],
            arguments.get("prefix", ""),
            arguments.get("limit", _FOUND),
            checked_mode(arguments.get("mode")),
        )

        async def account(
            model: str, tokens: int, request: Callable[[], Awaitable[Embedded]]
        ) -> Embedded:
            made = await request()
            context.embedded.append((model, made.tokens or tokens))
            return made

        found = await self._found.search(context.workspace_id, [*names], wanted, account)
        items = [_shown(one.item, names[one.item.store_id], _SHOWN) for one in found.items]
        return {"items": items} | ({"warning": found.warning} if found.warning else {})

    async def _read(
        self, held: list[HeldStore], arguments: dict[str, Any], context: ToolContext
    ) -> Any:
        assert self._state is not None
        store = _chosen(held, arguments).store
        key = checked_key(arguments["key"])
        try:
            item = await self._state.memories.item(context.workspace_id, store.id, key)
        except MemoryItemNotFound as error:
            raise ToolFailed(
                f"There is no item {key!r} in {store.name}.", cause="There is no such item."
            ) from error
        return _shown(item, store.name)

    async def _write(
        self,
        held: list[HeldStore],
        arguments: dict[str, Any],
        context: ToolContext,
        *,
        deleted: bool,
    ) -> Any:
        assert self._state is not None
        writable = [one for one in held if one.is_writable]
        one = _chosen(writable if "store" not in arguments else held, arguments)
        if not one.is_writable:
            raise ToolFailed(f"The memory store {one.store.name} is read-only.")
        key = checked_key(arguments["key"])
        content = None if deleted else checked_content(arguments["content"])
        await self._embeds(one.store, key, content, context)
        context.writes.append(
            MemoryWrite(
                context.workspace_id,
                one.store.id,
                self._clock.now(),
                self._clock.new_id(MEMORY_ITEM),
                key,
                content=content,
                deleted=deleted,
                limits=self._state.memories.limits,
            )
        )
        return {"store": one.store.name, "key": key, "deleted" if deleted else "written": True}

    async def _embeds(
        self, store: MemoryStore, key: str, content: str | None, context: ToolContext
    ) -> None:
        """Add the vector that will be made of what is written to what the call has embedded.

        The tokens are estimated: the provider counts them later, for many items together.
        """
        assert self._state is not None
        if store.embedding is None or content is None:
            return
        with suppress(MemoryItemNotFound):
            known = await self._state.memories.item(context.workspace_id, store.id, key)
            if known.content == content:
                return
        tokens = estimate_tokens(embedded_text(key, content))
        context.embedded.append((store.embedding.model, tokens))


async def held_stores(
    memories: "Memories", workspace_id: str, stores: Sequence[MemoryAccess]
) -> list[HeldStore]:
    """Return the stores of an execution that are still there, as they are now."""
    found = await memories.get_all(workspace_id, [one.id for one in stores])
    return [
        HeldStore(store, one.access)
        for one, store in zip(stores, found, strict=True)
        if store is not None
    ]


def _chosen(held: Sequence[HeldStore], arguments: dict[str, Any]) -> HeldStore:
    """Return the store that a call names, by name or id, or the only one. Raises ToolFailed."""
    named = arguments.get("store")
    fitting = [one for one in held if named in (None, one.store.name, one.store.id)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(one.store.name for one in held) or "none"
    if not fitting:
        raise ToolFailed(f"There is no such memory store. There are: {names}.")
    ids = ", ".join(f"{one.store.name} ({one.store.id})" for one in fitting)
    raise ToolFailed(f"Name one memory store, by its name or id: {ids}.")


def _shown(item: MemoryItem, store: str, most: int | None = None) -> dict[str, Any]:
    """Return an item for the model, with its time and writer, so that it can prefer fresh facts."""
    cut = most is not None and len(item.content) > most
    shown: dict[str, Any] = {
        "store": store,
        "key": item.key,
        "content": item.content[:most] if cut else item.content,
        "updatedAt": iso(item.updated_at),
        "writtenBy": item.writer.execution_id or item.writer.key_id,
    }
    if cut:
        shown["cut"] = "memory_read returns the whole content"
    return shown


def _make(_entry: ToolEntry, _value: Any, _draft: Draft) -> ToolSpec | None:
    """Make nothing: no file names these tools."""
    return None


MEMORY: Final = ToolKind(KEY, dict, _make, MemoryRunner, max_result_bytes=1024 * 1024)
