"""What models cost, and by which price."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from outlast import logs
from outlast.agents.loader import LoadedAgents
from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.prices.genai import PACKAGE
from outlast.agents.prices.price_list import PriceList
from outlast.cli.composition import providers_of, read_agents
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured
from outlast.model.price import NANO, UNPRICED, ModelPrice, Rate
from outlast.settings import FILE, Settings

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


async def prices_of(chosen: Settings, names: list[str]) -> list[Priced]:
    """Return the prices of these models; without names, of those of the agents file.

    Raises Misconfigured if there is none.
    """
    loaded = read_agents(chosen)
    wanted = list(dict.fromkeys(names or loaded.models))
    if not wanted:
        raise Misconfigured(
            "There is no model to show: name one, or an agents file with --agents FILE."
        )
    return await priced(chosen, loaded, wanted)


async def priced(chosen: Settings, loaded: LoadedAgents, names: Iterable[str]) -> list[Priced]:
    """Return the prices of these models. Raises Misconfigured."""
    logs.configure("error", "auto")  # what it would log is shown
    clock = SystemClock()
    models = ModelCatalogue(clock, chosen.data_dir, providers=providers_of(chosen, loaded))
    prices = PriceList(chosen.prices, models, clock)
    wanted = list(names)
    await prices.learn(wanted)
    return [_priced(chosen, prices, name, clock.now()) for name in wanted]


def _priced(chosen: Settings, prices: PriceList, name: str, now: int) -> Priced:
    _, _, model = name.partition(":")
    if (own := chosen.prices.find(name, model)) is not None:
        return Priced(name, FILE, own)
    if (listed := prices.list_price(name)) is not None:
        at = f"{listed.provider} {listed.model}"
        return Priced(name, PACKAGE, listed.at(now), listed.version, at)
    return Priced(name, _DEFAULT, UNPRICED, problem=prices.problem(name) or prices.failure)
