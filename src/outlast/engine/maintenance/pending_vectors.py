"""Makes the vectors of memory stores' items that were written.

Items wait in rows of their own (see `store.memory.vectors`), so a crash before, during or after a
request to the model loses nothing: at most it is made again. A model that fails is tried again with
longer and longer pauses; an item that it does not accept is tried alone, and shorter.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from outlast.agents.embeddings.catalogue import Embedders
from outlast.agents.embeddings.vectors import DIMENSION_BYTES
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.model.clock import Clock
from outlast.model.error import (
    ContextTooLong,
    Misconfigured,
    ModelRejected,
    ModelUnavailable,
    OutlastError,
    Upstream,
)
from outlast.store.memory.vectors import ItemToEmbed, Made, StoreToEmbed, Vectors

EMBED: Final = "embed_memory"
_EVERY_SECONDS: Final = 1.0
_LIMIT: Final = 8
"""Stores at a time; each is sent one batch."""
_PATIENCE: Final = 60.0
"""Seconds that a batch may take; other stores wait for it."""
_LONGEST_MILLIS: Final = 300_000
"""Longest pause after failures in a row."""
_REFUSED_MILLIS: Final = 3_600_000
"""Pause before an item is tried again that the model does not accept."""
_REFUSALS: Final = 3
"""Items that are refused one after the other before it is the model that fails."""
_ALONE: Final = 16
"""Items of a refused batch that are tried alone; the others stay due."""
_SHORTEST: Final = 400
"""Characters below which a text is not cut any shorter."""
_ERROR_CHARACTERS: Final = 300

logger = structlog.get_logger(__name__)


class PendingVectors:
    """Embeds what waits for it."""

    def __init__(self, vectors: Vectors, embedders: Embedders, clock: Clock) -> None:
        self._vectors = vectors
        self._embedders = embedders
        self._clock = clock

    @property
    def duty(self) -> MaintenanceDuty:
        """Every second."""
        return MaintenanceDuty(EMBED, _EVERY_SECONDS, _LIMIT, self.run)

    async def run(self, limit: int) -> int:
        """Embed a batch of each of the stores that are due; return `limit` if more may be due."""
        due = await self._vectors.due(self._clock.now(), limit)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._batch(store), name=EMBED) for store in due]
        return limit if any(task.result() for task in tasks) else 0

    async def _batch(self, store: StoreToEmbed) -> bool:
        """Embed a batch of a store; return whether there may be more."""
        try:
            embedder = self._embedders.find(store.model)
            items = await self._vectors.waiting(store.id, self._clock.now(), embedder.batch)
            async with asyncio.timeout(_PATIENCE):
                await self._embed(store, items)
        except (Upstream, Misconfigured, TimeoutError) as error:
            await self._postpone(store, error)
            return False
        return len(items) == embedder.batch

    async def _embed(self, store: StoreToEmbed, items: Sequence[ItemToEmbed]) -> None:
        """Embed items and keep their vectors. Raises Upstream, Misconfigured."""
        if not items:
            await self._vectors.keep(store.id, ())
            return
        try:
            found = await self._embedders.embed(store.model, [item.text for item in items])
            made = [Made(item, one) for item, one in zip(items, found.vectors, strict=True)]
            error = None
        except ContextTooLong as refused:
            made = await self._one_by_one(store, items)
            refusals = [one for one in made if one.vector is None]
            error = refused.message[:_ERROR_CHARACTERS] if refusals else None
        dimensions = _dimensions(store, made)
        await self._vectors.keep(store.id, made, dimensions=dimensions, error=error)

    async def _one_by_one(self, store: StoreToEmbed, items: Sequence[ItemToEmbed]) -> list[Made]:
        """Embed items alone; those that are refused are due later. Raises Upstream."""
        made: list[Made] = []
        for item in items[:_ALONE]:
            try:
                vector = await self._shorter(store.model, item.text)
                made.append(Made(item, vector))
            except ContextTooLong as error:
                made.append(Made(item, None, self._clock.now() + _REFUSED_MILLIS))
                if len(made) == _REFUSALS and not any(one.vector for one in made):
                    raise ModelRejected(error.message) from error
        return made

    async def _shorter(self, model: str, text: str) -> bytes:
        """Return the vector of as much of the text as the model takes. Raises ContextTooLong."""
        while True:
            try:
                return (await self._embedders.embed(model, [text])).vectors[0]
            except ContextTooLong:
                if len(text) < _SHORTEST:
                    raise
                text = text[: len(text) // 2]

    async def _postpone(self, store: StoreToEmbed, error: Exception) -> None:
        """Try the store again later, and say why."""
        tries = store.tries + 1
        pause = min(500 << min(tries, 10), _LONGEST_MILLIS)
        if isinstance(error, Upstream) and error.retry_after is not None:
            pause = max(pause, min(round(error.retry_after * 1000), _REFUSED_MILLIS))
        reason = error.message if isinstance(error, OutlastError) else _silent(store.model)
        logger.warning(
            "memory.not_embedded", store=store.id, model=store.model, tries=tries, reason=reason
        )
        until = self._clock.now() + pause
        await self._vectors.postpone(store.id, until, tries, reason[:_ERROR_CHARACTERS])


def _silent(model: str) -> str:
    return f"The embedding model {model} has not answered within {_PATIENCE:g} s."


def _dimensions(store: StoreToEmbed, made: Sequence[Made]) -> int | None:
    """Return the dimensions of the vectors. Raises ModelUnavailable if the store has others."""
    found = {len(one.vector) // DIMENSION_BYTES for one in made if one.vector}
    known = store.dimensions
    for dimensions in found:
        if dimensions != (known or dimensions):
            raise ModelUnavailable(
                f"The embedding model returned {dimensions} dimensions; the vectors of the store "
                f"have {known}."
            )
        known = dimensions
    return known
