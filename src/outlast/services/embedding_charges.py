"""Charges requests that belong to no execution for vectors of memory stores."""

from collections.abc import Iterable
from dataclasses import dataclass

from outlast.agents.prices.price_list import PriceList
from outlast.model.charge import Charge
from outlast.model.clock import Clock
from outlast.model.ids import STEP
from outlast.model.memory import EmbeddingPrice, MemoryStore
from outlast.model.price import ModelPrice
from outlast.model.usage import Usage
from outlast.model.workspace import Principal
from outlast.store.request_charges import RequestCharge, RequestChargeStore


@dataclass(frozen=True, slots=True)
class EmbeddingCharges:
    """Charges keys and workspaces."""

    store: RequestChargeStore
    prices: PriceList
    clock: Clock

    async def price(self, store: MemoryStore) -> EmbeddingPrice | None:
        """Return what the vector of an item costs; None if items of this store have none."""
        if store.embedding is None:
            return None
        model = store.embedding.model
        return EmbeddingPrice(model, await self._price(model), self.clock.new_id(STEP))

    async def charge(self, principal: Principal, embedded: Iterable[tuple[str, int]]) -> None:
        """Charge requests that were made, each by its model and tokens. Raises Overloaded."""
        charges: list[RequestCharge] = []
        for model, tokens in embedded:
            usage, now = Usage(tokens), self.clock.now()
            cost = (await self._price(model)).of(usage)
            charge = Charge(self.clock.new_id(STEP), None, "model", model, cost, now, usage)
            charges.append(RequestCharge(principal.workspace_id, principal.key_id, charge))
        if charges:
            await self.store.add(charges)

    async def _price(self, model: str) -> ModelPrice:
        if self.prices.lacks(model):
            await self.prices.learn([model])
        return self.prices.of_model(model)
