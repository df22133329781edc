"""Charges requests that belong to no execution for vectors of memory stores."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from outlast.agents.embeddings.port import Embedded
from outlast.agents.prices.price_list import PriceList
from outlast.model.charge import Charge
from outlast.model.clock import Clock
from outlast.model.ids import STEP
from outlast.model.memory import EmbeddingPrice
from outlast.model.price import ModelPrice
from outlast.model.usage import Usage
from outlast.model.workspace import Principal
from outlast.store.memory.store import Memories
from outlast.store.request_charges import RequestCharge, RequestChargeStore

_MOST_KNOWN: Final = 10_000
"""Stores whose embedding model is kept."""


@dataclass(frozen=True, slots=True)
class EmbeddingCharges:
    """Charges keys and workspaces."""

    store: RequestChargeStore
    memories: Memories
    prices: PriceList
    clock: Clock
    _models: dict[str, str | None] = field(default_factory=dict)
    """Embedding models by store; a store keeps its model for good."""

    async def price(self, workspace_id: str, store_id: str) -> EmbeddingPrice | None:
        """Return what the vector of an item costs; None if items of this store have none.

        Raises MemoryStoreNotFound.
        """
        if store_id not in self._models:
            state = (await self.memories.get(workspace_id, store_id)).embedding
            if len(self._models) >= _MOST_KNOWN:
                self._models.clear()
            self._models[store_id] = None if state is None else state.model
        model = self._models[store_id]
        if model is None:
            return None
        return EmbeddingPrice(model, await self._price(model), self.clock.new_id(STEP))

    async def embed(
        self,
        principal: Principal,
        model: str,
        tokens: int,
        request: Callable[[], Awaitable[Embedded]],
    ) -> Embedded:
        """Make a request of an estimated number of tokens, and charge what the model counts.

        If there are budgets it is reserved before. Raises QuotaExceeded, and what `request` raises.
        """
        price = await self._price(model)
        usage, now = Usage(tokens), self.clock.now()
        charge = Charge(self.clock.new_id(STEP), None, "model", model, price.of(usage), now, usage)
        wanted = RequestCharge(principal.workspace_id, principal.key_id, charge)
        holds = principal.budgeted and await self.store.reserve(wanted)
        try:
            made = await request()
        except BaseException:
            if holds:
                await self.store.release(charge.id, self.clock.now())
            raise
        if made.tokens:
            usage = Usage(made.tokens)
            charge = replace(charge, usage=usage, credits=price.of(usage))
        charge = replace(charge, at=self.clock.now())
        await self.store.settle(replace(wanted, charge=charge))
        return made

    async def _price(self, model: str) -> ModelPrice:
        if self.prices.lacks(model):
            await self.prices.learn([model])
        return self.prices.of_model(model)
