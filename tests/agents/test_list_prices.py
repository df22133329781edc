"""List prices of providers: those of the installed package to the last digit, never fetched."""

import asyncio
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices.data_snapshot import get_snapshot

from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.port import Offer
from outlast.agents.prices import genai, genai_child
from outlast.agents.prices.genai import ListPrice, ListUnavailable, read
from outlast.agents.prices.price_list import PriceList
from outlast.model.clock import Clock
from outlast.model.error import Misconfigured
from outlast.model.price import NANO, UNPRICED, ModelPrice, Prices
from outlast.model.provider import ProviderSpec
from outlast.model.usage import Usage
from outlast.testing import FakeClock

pytestmark = pytest.mark.anyio
PER_DOLLAR = Decimal("12.5")
MOMENTS = [
    datetime(2025, 3, 1, 17, 0, tzinfo=UTC),
    datetime(2026, 11, 28, 0, 30, tzinfo=UTC),
    datetime(2026, 11, 28, 3, 59, 59, tzinfo=UTC),
    datetime(2027, 1, 1, tzinfo=UTC),
]
USAGES = [Usage(1, 1), Usage(7, 3, 2, 4), Usage(200_000, 9, 1000), Usage(300_001, 50_000, 5, 9)]


def theirs(price: Any, usage: Usage) -> int:
    """What the package itself computes, in credits rounded up to a billionth."""
    used = TheirUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    exact = price.calc_price(used)["total_price"] * PER_DOLLAR * NANO
    return int(exact.to_integral_value(ROUND_CEILING))


async def test_every_model_of_the_package_costs_what_the_package_computes() -> None:
    snapshot = get_snapshot()
    infos, offers = [], []
    for provider in snapshot.providers:
        for model in provider.models:
            info = provider.find_model(model.id, all_providers=snapshot.providers)
            if info is not None:
                infos.append(info)
                offers.append(Offer("any", None, model.id, provider.id))
    found = await read(offers, PER_DOLLAR)
    priced = 0
    for info, one in zip(infos, found, strict=True):
        for moment in MOMENTS:
            price = info.get_prices(moment)
            if not isinstance(one, ListPrice):
                assert price.input_mtok is None is price.output_mtok
                continue
            ours = one.at(int(moment.timestamp() * 1000))
            for usage in USAGES:
                assert ours.of(usage) == theirs(price, usage), (info.id, moment, usage)
        priced += isinstance(one, ListPrice)
    assert priced > 2000


async def test_a_bound_goes_by_the_highest_price_of_a_token_rounded_up() -> None:
    (found,) = await read([Offer("google", None, "gemini-2.5-pro")], Decimal("0.0001"))
    assert isinstance(found, ListPrice)
    price = found.at(1_764_000_000_000)
    assert [rate.above for rate in price.rates] == [0, 200_000]
    assert (price.input, price.output, price.cache_read) == (1, 2, 1)
    assert price.of(Usage(3, 1)) == 2  # 1.375 billionths


@pytest.mark.parametrize(
    ("offer", "listed"),
    [
        (Offer("openai-chat", "https://api.openai.com/v1", "gpt-5-mini"), "openai gpt-5-mini"),
        (Offer("openai-chat", "https://openrouter.ai/api/v1", "gpt-5-mini"), None),
        (Offer("openai-chat", "http://10.0.0.7/v1", "gpt-5-mini"), None),
        (Offer("openai-chat", "http://10.0.0.7/v1", "gpt-5-mini", "openai"), "openai gpt-5-mini"),
        (Offer("anthropic", None, "claude-sonnet-4-5-20250929"), "anthropic claude-sonnet-4-5"),
        (Offer("azure-responses", None, "gpt-5"), "azure gpt-5"),
        (Offer("gateway/groq", None, "llama-3.3-70b-versatile"), "groq llama-3.3-70b-versatile"),
        (Offer("nowhere", None, "gpt-5"), None),
        (Offer("openai", None, "whisper-1"), None),
        (Offer("gw", None, "gpt-5", "open-ai"), "genai-prices has no provider 'open-ai'"),
    ],
)
def test_the_price_is_that_of_the_provider_and_none_is_guessed(
    offer: Offer, listed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    wanted = {name: getattr(offer, name) for name in ("provider", "url", "named", "model")}
    (found,) = genai_child.find([wanted])
    shown = found and (found.get("problem") or f"{found['provider']} {found['model']}")
    assert shown == listed


async def test_a_list_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child.py"
    monkeypatch.setattr(genai, "_CHILD", child)
    child.write_text("raise MemoryError('too much')")
    with pytest.raises(ListUnavailable, match="MemoryError: too much"):
        await read([], PER_DOLLAR)
    child.write_text("import sys; sys.stdin.read(); input()")
    with pytest.raises(ListUnavailable, match="EOFError"):
        await read([], PER_DOLLAR)


# --- the operator's prices before it


PRICE = ModelPrice(1, 2, 3, 4)


class Reader:
    """Counts how often the list is read; knows the models that are given to it."""

    def __init__(self, *models: str) -> None:
        self.models = models
        self.read: list[list[str]] = []
        self.failing = False

    async def __call__(
        self, offers: Sequence[Offer], per_dollar: Decimal
    ) -> list[ListPrice | str | None]:
        self.read.append([offer.model for offer in offers])
        await asyncio.sleep(0)
        if self.failing:
            raise ListUnavailable("no memory")
        period = genai.Period(PRICE)
        return [
            ListPrice("p", one.model, "1", (period,)) if one.model in self.models else None
            for one in offers
        ]


def price_list(
    reader: Reader, tmp_path: Path, clock: Clock | None = None, **prices: Any
) -> PriceList:
    clock = clock or FakeClock()
    models = ModelCatalogue(clock, tmp_path, environment={})
    given = Prices(credits_per_dollar=PER_DOLLAR, **prices)
    return PriceList(given, models, clock, reader=reader)


async def test_a_model_is_looked_up_once_however_many_need_it(tmp_path: Path) -> None:
    reader = Reader("gpt-5")
    prices = price_list(reader, tmp_path)
    assert prices.lacks("openai-chat:gpt-5")
    assert prices.of_model("openai-chat:gpt-5") == UNPRICED
    names = ["openai-chat:gpt-5", "local:small", "scripted:x.yaml", "nonsense"]
    await asyncio.gather(prices.learn(names), prices.learn(names))
    assert reader.read == [["gpt-5"]]
    assert not any(prices.lacks(name) for name in names)
    assert prices.of_model("openai-chat:gpt-5") == PRICE
    assert prices.of_model("openai-chat:gpt-5", "gpt-5-2025-08-07") == PRICE
    assert prices.of_model("local:small") == UNPRICED


async def test_the_name_that_the_provider_answers_with_counts_where_the_requested_has_no_price(
    tmp_path: Path,
) -> None:
    reader = Reader("gpt-5")
    prices = price_list(reader, tmp_path)
    await prices.learn(["openai-chat:auto"])
    assert not prices.lacks("openai-chat:auto")
    assert prices.lacks("openai-chat:auto", "gpt-5")
    await prices.learn(["openai-chat:auto"], "gpt-5")
    assert prices.of_model("openai-chat:auto", "gpt-5") == PRICE
    assert reader.read == [["auto"], ["gpt-5"]]


async def test_a_provider_that_invents_a_name_for_each_answer_is_soon_not_looked_up(
    tmp_path: Path,
) -> None:
    reader = Reader()
    prices = price_list(reader, tmp_path)
    for number in range(150):
        if prices.lacks("openai-chat:m", f"m-{number}"):
            await prices.learn(["openai-chat:m"], f"m-{number}")
    assert len(reader.read) == 100
    assert prices.lacks("openai-chat:n", "n-1")


async def test_the_operators_own_price_is_never_looked_up(tmp_path: Path) -> None:
    reader = Reader("gpt-5")
    own = {"openai-chat:gpt-5": ModelPrice(0, 0, 0, 0), "gpt-6": ModelPrice(9, 9, 9, 9)}
    prices = price_list(reader, tmp_path, models=own)
    await prices.learn(["openai-chat:gpt-5"])
    assert not prices.lacks("openai-chat:other", "gpt-6")
    assert reader.read == []
    assert prices.of_model("openai-chat:gpt-5").input == 0
    assert prices.of_model("openai-chat:other", "gpt-6").input == 9


async def test_a_list_that_cannot_be_read_leaves_the_default_and_is_read_again_later(
    tmp_path: Path,
) -> None:
    clock, reader = FakeClock(), Reader("gpt-5")
    prices = price_list(reader, tmp_path, clock)
    reader.failing = True
    await prices.learn(["openai-chat:gpt-5"])
    await prices.learn(["openai-chat:gpt-5"])
    assert len(reader.read) == 1
    assert prices.failure == "no memory"
    assert prices.of_model("openai-chat:gpt-5") == UNPRICED
    reader.failing = False
    clock.advance(61)
    await prices.learn(["openai-chat:gpt-5"])
    assert prices.failure is None
    assert prices.of_model("openai-chat:gpt-5") == PRICE


async def test_without_credits_for_a_dollar_no_price_is_looked_up(tmp_path: Path) -> None:
    reader, clock = Reader("gpt-5"), FakeClock()
    models = ModelCatalogue(clock, tmp_path, environment={})
    prices = PriceList(Prices(), models, clock, reader=reader)
    assert not prices.lacks("openai-chat:gpt-5", "gpt-5")
    assert prices.of_model("openai-chat:gpt-5") == UNPRICED


def test_without_the_package_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genai, "find_spec", lambda _: None)
    with pytest.raises(Misconfigured, match=r"creditsPerDollar needs an extra: .*\[prices\]"):
        price_list(Reader(), tmp_path)


# --- where a model is offered


@pytest.mark.parametrize(
    ("name", "environment", "offer"),
    [
        ("openai-chat:m", {}, Offer("openai-chat", "https://api.openai.com/v1", "m")),
        (
            "openai-chat:m",
            {"OPENAI_BASE_URL": "http://x/v1"},
            Offer("openai-chat", "http://x/v1", "m"),
        ),
        ("openai:m", {"OPENAI_BASE_URL": "http://x/v1"}, Offer("openai", "http://x/v1", "m")),
        ("anthropic:m", {"OPENAI_BASE_URL": "http://x/v1"}, Offer("anthropic", None, "m")),
        ("named:a/b:free", {"HOST": "h"}, Offer("openai-chat", "https://h/v1", "a/b:free")),
        ("named:m", {}, None),
        ("claude:m", {}, Offer("anthropic", None, "m")),
        ("local:m", {}, None),
        ("scripted:m", {}, None),
        ("nothing", {}, None),
    ],
)
def test_a_models_provider_is_that_of_its_requests(
    name: str, environment: dict[str, str], offer: Offer | None, tmp_path: Path
) -> None:
    providers = {
        "named": ProviderSpec("named", base_url="https://${HOST}/v1"),
        "claude": ProviderSpec("claude", kind="anthropic", api_key="${UNUSED}"),
    }
    environment = {"UNUSED": "x", **environment}
    models = ModelCatalogue(FakeClock(), tmp_path, environment=environment, providers=providers)
    assert models.offer(name) == offer
    models.use({})
    assert models.offer("named:m") == Offer("named", None, "m")
