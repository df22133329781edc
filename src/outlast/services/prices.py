"""What models cost, and by which price."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from outlast.agents.prices.genai import PACKAGE
from outlast.agents.prices.price_list import PriceList
from outlast.model.clock import Clock
from outlast.model.price import NANO, UNPRICED, ModelPrice, Prices, Rate
from outlast.settings import FILE

_TOKENS: Final = 1_000_000
_DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Priced:
    """Price of one model."""

    model: str
    source: str
    """The settings file, the package with the list of prices, or `default`."""
    price: ModelPrice
    version: str | None = None
    listed: str | None = None
    """Provider and model in the list."""
    problem: str | None = None

    @property
    def is_default(self) -> bool:
        """Whether the model has no price of its own."""
        return self.source == _DEFAULT

    def rates(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield credits per 1,000,000 tokens for requests above a number of input tokens."""
        price = self.price
        own = (0, price.input, price.output, price.cache_read, price.cache_write)
        for rate in price.rates or (Rate(*own),):
            kinds = {
                "input": rate.input,
                "output": rate.output,
                "cacheRead": rate.cache_read,
                "cacheWrite": rate.cache_write,
            }
            found = {
                name: amount * _TOKENS / (NANO * price.parts) for name, amount in kinds.items()
            }
            if rate.request:
                found["request"] = rate.request / (NANO * price.parts)
            yield rate.above, found

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        (_, first), *more = self.rates()
        return {
            "model": self.model,
            **first,
            "tiers": [{"aboveInputTokens": above, **found} for above, found in more],
            "source": self.source,
            "version": self.version,
            "listedAs": self.listed,
            "problem": self.problem,
        }

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield its rows of the table, one for each size of requests."""
        for above, found in self.rates():
            size = f" (above {above:,} input tokens)" if above else ""
            kinds = ("input", "output", "cacheRead", "cacheWrite")
            extra = f" and {found['request']:.12g} a request" if "request" in found else ""
            amounts = [f"{found[name]:.12g}" for name in kinds]
            yield (f"{self.model}{size}", *amounts, f"{self._source()}{extra}")

    def _source(self) -> str:
        if self.problem is not None:
            return f"{self.source}: {self.problem}"
        if self.version is None:
            return self.source
        return f"{self.source} {self.version}: {self.listed}"


class ModelPrices:
    """The prices that models have now."""

    def __init__(self, own: Prices, prices: PriceList, clock: Clock) -> None:
        self._own = own
        self._prices = prices
        self._clock = clock

    def of(self, names: Iterable[str]) -> list[Priced]:
        """Return the price of each model; list prices are those that have been looked up."""
        return [self._of(name) for name in names]

    def _of(self, name: str) -> Priced:
        _, _, model = name.partition(":")
        if (own := self._own.find(name, model)) is not None:
            return Priced(name, FILE, own)
        prices = self._prices
        if (listed := prices.list_price(name)) is not None:
            at = f"{listed.provider} {listed.model}"
            return Priced(name, PACKAGE, listed.at(self._clock.now()), listed.version, at)
        return Priced(name, _DEFAULT, UNPRICED, problem=prices.problem(name) or prices.failure)
