"""Prices of models: the operator's, else the provider's list price, else the default.

list price of a model ──► looked up at its first use, kept in memory ──► read when a step is charged
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, TypeAlias

import structlog

from outlast.agents.port import Models, Offer
from outlast.agents.prices.genai import ListPrice, ListUnavailable, read, require_package
from outlast.model.clock import Clock
from outlast.model.price import UNPRICED, ModelPrice, Prices

Reader: TypeAlias = Callable[
    [Sequence[Offer], Decimal], Coroutine[Any, Any, list[ListPrice | str | None]]
]
_AGAIN_SECONDS: Final = 60.0
"""How long the default applies before a list that could not be read is tried again."""
_MOST: Final = 10_000
"""Offers whose prices are kept."""
_MOST_ANSWERED: Final = 100
"""Names that are looked up for one requested model: a provider may invent one for each answer."""

logger = structlog.get_logger(__name__)


class PriceList:
    """What models and tools cost."""

    def __init__(
        self, prices: Prices, models: Models, clock: Clock, *, reader: Reader = read
    ) -> None:
        """Raises Misconfigured if list prices are needed and their package is not installed."""
        self._prices = prices
        self._models = models
        self._clock = clock
        self._read = reader
        self.lists = prices.credits_per_dollar is not None
        """Whether list prices are used."""
        if self.lists:
            require_package()
        self._found: dict[Offer, ListPrice | str | None] = {}
        self._answered: dict[str, int] = {}
        """How many names of answers were looked up, by the requested model."""
        self._reading = asyncio.Lock()
        self.failure: str | None = None
        """Why the list could not be read; None if it could."""
        self._again = 0.0
        """Before this moment of the monotonic clock the list is not read again."""

    def of_model(self, requested: str, answered: str = "") -> ModelPrice:
        """Return the price by the agent's name of the model, else by the provider's name of it."""
        if not self.lists:
            return self._prices.of_model(requested, answered)
        price = self._prices.find(requested, answered)
        if price is None and (listed := self.list_price(requested, answered)) is not None:
            price = listed.at(self._clock.now())
        return price or UNPRICED

    def of_tool(self, name: str) -> int:
        """Return the price of one call."""
        return self._prices.of_tool(name)

    def lacks(self, requested: str, answered: str = "") -> bool:
        """Whether a list price has to be looked up before the model is used or charged."""
        if not self.lists or self._prices.find(requested, answered) is not None:
            return False
        for number, offer in enumerate(self._offers(requested, answered)):
            if offer not in self._found:
                return not number or self._answered.get(requested, 0) < _MOST_ANSWERED
            if isinstance(self._found[offer], ListPrice):
                return False
        return False

    async def learn(self, requested: Iterable[str], answered: str = "") -> None:
        """Look up the list prices of these models; safe to call many times.

        A list that cannot be read is logged: then the default applies for a while.
        """
        async with self._reading:
            requested = list(dict.fromkeys(requested))
            wanted = [
                offer
                for name in requested
                if self.lacks(name, answered)
                for offer in self._offers(name, answered)
                if offer not in self._found
            ]
            if wanted and self._clock.monotonic() >= self._again:
                await self._look_up(wanted)
                if answered:
                    for name in requested:
                        self._answered[name] = self._answered.get(name, 0) + 1

    def list_price(self, requested: str, answered: str = "") -> ListPrice | None:
        """Return the list price that was found; None if there is none."""
        for offer in self._offers(requested, answered):
            if isinstance(found := self._found.get(offer), ListPrice):
                return found
        return None

    def problem(self, requested: str) -> str | None:
        """Return what is wrong with the provider's id in the settings; None if nothing is."""
        found = (self._found.get(offer) for offer in self._offers(requested))
        return next((one for one in found if isinstance(one, str)), None)

    def _offers(self, requested: str, answered: str = "") -> list[Offer]:
        offer = self._models.offer(requested)
        if offer is None:
            return []
        named = self._prices.providers.get(requested.partition(":")[0])
        offer = offer if named is None else replace(offer, named=named)
        if answered in ("", offer.model):
            return [offer]
        return [offer, replace(offer, model=answered)]

    async def _look_up(self, offers: list[Offer]) -> None:
        assert self._prices.credits_per_dollar is not None
        try:
            found = await self._read(offers, self._prices.credits_per_dollar)
        except ListUnavailable as error:
            self.failure = str(error)
            logger.warning("prices.unavailable", cause=str(error))
            self._again = self._clock.monotonic() + _AGAIN_SECONDS
            return
        self.failure = None
        if len(self._found) > _MOST:
            self._found.clear()
            self._answered.clear()
        self._found.update(zip(offers, found, strict=True))
        for offer, one in zip(offers, found, strict=True):
            if not isinstance(one, ListPrice):
                cause = one or "the provider's list prices do not have it"
                logger.info("prices.not_listed", model=offer.model, cause=cause)
