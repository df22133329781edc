"""What models cost, for the command line."""

from collections.abc import Iterable

from outlast import logs
from outlast.agents.loader import LoadedAgents
from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.prices.price_list import PriceList
from outlast.cli.composition import providers_of, read_agents
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured
from outlast.services.prices import ModelPrices, Priced
from outlast.settings import Settings


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
    return ModelPrices(chosen.prices, prices, clock).of(wanted)
