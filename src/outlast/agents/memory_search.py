"""The search of memory stores: by words, by meaning, or both.

query ─► words ──► newest items with all of them ───────────────┐
      └► vector ─► nearest items by cosine, of all that there are ┴► reciprocal rank fusion ─► items

All vectors are compared, so the result is exact (see docs/decisions/semantic-search.md).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from outlast.agents.embeddings.catalogue import Embedders
from outlast.agents.embeddings.kept import KeptVectors
from outlast.agents.embeddings.port import Embedded
from outlast.agents.embeddings.vectors import DIMENSION_BYTES, nearest
from outlast.model.embedding import (
    MAX_EMBEDDED,
    RANKED,
    Found,
    FoundItem,
    SearchMode,
    fused,
)
from outlast.model.error import (
    InvalidField,
    MemoryStoreNotFound,
    Misconfigured,
    ModelUnavailable,
    Upstream,
)
from outlast.model.memory import MemoryItem, MemoryStore, checked_prefix, query_words
from outlast.model.usage import estimate_tokens
from outlast.store.memory.store import Memories
from outlast.store.memory.vectors import Vectors

_PATIENCE: Final = 10.0
"""Seconds that a search waits for the query's vector."""

Account: TypeAlias = Callable[[str, int, Callable[[], Awaitable[Embedded]]], Awaitable[Embedded]]
"""Makes a request to a model, of an estimated number of tokens, and accounts for what it costs."""


async def uncharged(
    _model: str, _tokens: int, request: Callable[[], Awaitable[Embedded]]
) -> Embedded:
    """Make a request for which nothing is charged."""
    return await request()


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for."""

    query: str
    prefix: str = ""
    """Of keys."""
    limit: int = 10
    mode: SearchMode | None = None
    """None: hybrid if one of the stores has an embedding model, otherwise text."""


@dataclass(frozen=True, slots=True)
class _Near:
    """A place in a ranking by meaning."""

    similarity: float
    item_id: str
    store_id: str


class MemorySearch:
    """Searches the stores of a workspace."""

    def __init__(
        self, store: Memories, vectors: Vectors, embedders: Embedders, kept_bytes: int = 0
    ) -> None:
        """`kept_bytes`: memory for vectors that are kept between searches."""
        self._store = store
        self._vectors = vectors
        self._embedders = embedders
        self._kept = KeptVectors(vectors, kept_bytes)

    def require(self, model: str) -> None:
        """Raise InvalidField if a store cannot have this embedding model."""
        try:
            self._embedders.find(model)
        except Misconfigured as error:
            raise InvalidField(f"embedding: {error.message}", param="embedding") from error

    async def search(
        self,
        workspace_id: str,
        store_ids: Sequence[str],
        wanted: Search,
        account: Account = uncharged,
    ) -> Found:
        """Return what is found; a blank query finds the newest items, in every mode.

        Vectors of the query are requested by `account`. Raises MemoryStoreNotFound, InvalidField
        (also for a mode that needs an embedding model that no store has), Upstream if a semantic
        search gets no vector of the query, and what `account` raises.
        """
        prefix, words = checked_prefix(wanted.prefix), query_words(wanted.query)
        stores = await self._found(workspace_id, store_ids)
        mode = SearchMode.TEXT if words is None else _mode(stores, wanted.mode)
        if mode is not SearchMode.SEMANTIC:
            depth = wanted.limit if mode is SearchMode.TEXT else max(RANKED, wanted.limit)
            by_words = await self._store.find(workspace_id, store_ids, words, prefix, depth)
        else:
            by_words = []
        rankings: list[list[_Near]] = []
        warning = None
        if mode is not SearchMode.TEXT:
            try:
                vectors = await self._vectors_of(stores, wanted.query, account)
                rankings = await self._nearest(stores, vectors, prefix, wanted.limit)
            except Upstream as error:
                if mode is SearchMode.SEMANTIC:
                    raise
                warning = f"Found by words alone: {error.message}"
        return Found(await self._joined(by_words, rankings, wanted.limit), mode, warning)

    async def _found(self, workspace_id: str, store_ids: Sequence[str]) -> list[MemoryStore]:
        found = await self._store.get_all(workspace_id, store_ids)
        stores = [store for store in found if store is not None]
        if len(stores) < len(found):
            raise MemoryStoreNotFound
        return stores

    async def _vectors_of(
        self, stores: Sequence[MemoryStore], query: str, account: Account
    ) -> dict[str, bytes]:
        """Return the query's vector of each of the stores' models. Raises Upstream."""
        models = {store.embedding.model for store in stores if store.embedding is not None}
        tokens = estimate_tokens(query[:MAX_EMBEDDED])
        vectors = {}
        for model in sorted(models):
            made = await account(model, tokens, partial(self._embed, model, query))
            vectors[model] = made.vectors[0]
        return vectors

    async def _nearest(
        self,
        stores: Sequence[MemoryStore],
        vectors: Mapping[str, bytes],
        prefix: str,
        limit: int,
    ) -> list[list[_Near]]:
        """Return a ranking for each model: cosines of two models cannot be compared."""
        rankings: list[list[_Near]] = []
        most = max(RANKED, limit)
        for model, vector in vectors.items():
            near: list[_Near] = []
            for store in stores:
                if store.embedding is not None and store.embedding.model == model:
                    near += await self._of_store(store, vector, prefix, most)
            near.sort(key=lambda one: (one.similarity, one.item_id), reverse=True)
            rankings.append(near[:most])
        return rankings

    async def _embed(self, model: str, query: str) -> Embedded:
        """Return the query's vector. Raises Upstream."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._embedders.embed(model, [query[:MAX_EMBEDDED]])
        except TimeoutError:
            raise ModelUnavailable(
                f"The embedding model {model} has not answered within {_PATIENCE:g} s."
            ) from None
        except Misconfigured as error:
            raise ModelUnavailable(error.message, passing=False) from error

    async def _of_store(
        self, store: MemoryStore, vector: bytes, prefix: str, most: int
    ) -> list[_Near]:
        """Return the nearest items of a store."""
        assert store.embedding is not None
        held = await self._kept.of_store(store.id, store.embedding.vectors)
        dimensions = len(vector) // DIMENSION_BYTES
        if held.ids and held.dimensions != dimensions:
            raise ModelUnavailable(
                f"The embedding model now returns {dimensions} dimensions; the vectors of the "
                f"store {store.name!r} have {held.dimensions}.",
                passing=False,
            )
        rows = None
        if prefix:
            below = await self._vectors.below(store.id, prefix)
            rows = [at for at, item_id in enumerate(held.ids) if item_id in below]
        found = await asyncio.to_thread(nearest, vector, held.ids, held.table, most, rows)
        return [_Near(similarity, item_id, store.id) for similarity, item_id in found]

    async def _joined(
        self, by_words: Sequence[MemoryItem], rankings: Sequence[Sequence[_Near]], limit: int
    ) -> tuple[FoundItem, ...]:
        """Return the best items of all rankings; of equals the newest first."""
        if not rankings:
            return tuple(FoundItem(item, (SearchMode.TEXT,)) for item in by_words[:limit])
        items = {item.id: item for item in by_words}
        near = {one.item_id: one for ranking in rankings for one in ranking}
        worded = dict.fromkeys(items)
        scores = fused([[*worded], *([one.item_id for one in ranking] for ranking in rankings)])
        least = min(sorted(scores.values(), reverse=True)[:limit], default=0.0)
        good = [item_id for item_id, score in scores.items() if score >= least]
        missing = [near[item_id] for item_id in good if item_id not in items]
        found = await self._vectors.items([(one.store_id, one.item_id) for one in missing])
        items |= found
        best = sorted(
            (items[item_id] for item_id in good if item_id in items),
            key=lambda item: (scores[item.id], item.updated_at, item.id),
            reverse=True,
        )
        return tuple(
            FoundItem(
                item,
                _by(words=item.id in worded, meaning=item.id in near),
                near[item.id].similarity if item.id in near else None,
            )
            for item in best[:limit]
        )


def _by(*, words: bool, meaning: bool) -> tuple[SearchMode, ...]:
    """Return the searches that have found an item."""
    return (SearchMode.TEXT,) * words + (SearchMode.SEMANTIC,) * meaning


def _mode(stores: Sequence[MemoryStore], wanted: SearchMode | None) -> SearchMode:
    """Return the mode of a search. Raises InvalidField if it needs a model that no store has."""
    has_model = any(store.embedding is not None for store in stores)
    if wanted is None:
        return SearchMode.HYBRID if has_model else SearchMode.TEXT
    if wanted is not SearchMode.TEXT and not has_model:
        raise InvalidField(
            f"mode: {wanted} needs a memory store with an embedding model.", param="mode"
        )
    return wanted
