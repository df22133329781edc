"""Prices: exact for one token and one call, and refused where they are not."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast import settings
from outlast.model.error import Misconfigured
from outlast.model.price import NANO, UNPRICED, ModelPrice, credits_of, read_prices
from outlast.model.usage import Usage

counts = st.integers(0, 1_000_000)
usages = st.builds(Usage, counts, counts, counts, counts)
prices = st.decimals(0, 1_000_000, places=3)
FILE = """
port = 8400
drain_seconds = 1.5

[prices.models."openai-chat:gpt-5-mini"]
input = 0.25
output = 2
cacheRead = "0.025"

[prices.models."gpt-5"]
input = "1.25"
output = 10
cacheWrite = 3

[prices.tools]
lookup_order = 0.000000001
refund = "2"
"""


def load(tmp_path: Path, text: str) -> settings.Settings:
    (tmp_path / settings.FILE).write_text(text)
    return settings.load({}, {}, tmp_path)


def test_prices_are_a_table_of_the_settings_file(tmp_path: Path) -> None:
    found = load(tmp_path, FILE)
    assert (found.port, found.drain_seconds) == (8400, 1.5)
    assert found.prices.of_model("openai-chat:gpt-5-mini") == ModelPrice(250, 2000, 25, 250)
    assert found.prices.of_model("else", "gpt-5") == ModelPrice(1250, 10_000, 1250, 3000)
    assert found.prices.of_model("openai-chat:gpt-5-mini", "gpt-5").input == 250
    assert found.prices.of_model("else", "else") == UNPRICED
    assert found.prices.of_tool("lookup_order") == 1
    assert found.prices.of_tool("refund") == 2 * NANO
    assert found.prices.of_tool("else") == 0
    assert found.prices.credits_per_dollar is None
    found = load(tmp_path, "[prices]\ncreditsPerDollar = 0.1\nproviders = {gw = 'openai'}")
    assert found.prices.credits_per_dollar == Decimal("0.1")
    assert found.prices.providers == {"gw": "openai"}


def test_prices_are_no_variable_of_the_environment(tmp_path: Path) -> None:
    found = settings.load({}, {"OUTLAST_PRICES": "{}"}, tmp_path)
    assert found.prices.models == {}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("free", "prices must be a table"),
        ({"model": {}}, "prices: unknown key 'model'. Known: models, tools, creditsPerDollar"),
        ({"tools": 5}, "prices.tools must be a table"),
        ({"models": {"m": 5}}, 'prices.models."m" must be a table'),
        ({"models": {"m": {"input": 1}}}, 'prices.models."m": output is missing'),
        (
            {"models": {"m": {"input": 1, "output": 1, "cached": 1}}},
            "prices.models.\"m\": unknown key 'cached'",
        ),
        (
            {"models": {"m": {"input": "0.0001", "output": 1}}},
            'prices.models."m".input: 0.0001 has more than 3 decimals',
        ),
        (
            {"models": {"m": {"input": Decimal("1." + "0" * 30 + "1"), "output": 1}}},
            "has more than 3 decimals",
        ),
        ({"tools": {"t": "0.0000000001"}}, "has more than 9 decimals"),
        ({"tools": {"t": -1}}, 'prices.tools."t": -1 is not between 0 and 1000000 credits'),
        ({"tools": {"t": 1_000_001}}, "is not between"),
        ({"tools": {"t": Decimal("Infinity")}}, "is not between"),
        ({"tools": {"t": "NaN"}}, "is not between"),
        ({"tools": {"t": "1e999999"}}, "is not between"),
        ({"tools": {"t": "1e-999999"}}, "has more than 9 decimals"),
        ({"tools": {"t": "cheap"}}, "'cheap' is not a price"),
        ({"tools": {"t": True}}, "True is not a price"),
        ({"tools": {"t": [1]}}, "is not a price"),
        ({"creditsPerDollar": 0}, "prices.creditsPerDollar: 0 is not more than 0"),
        ({"creditsPerDollar": "-1"}, "is not more than 0 and at most 100000"),
        ({"creditsPerDollar": 100_001}, "is not more than 0 and at most 100000"),
        ({"creditsPerDollar": "NaN"}, "is not more than 0"),
        ({"creditsPerDollar": True}, "True is not a number of credits, as 100"),
        ({"creditsPerDollar": "0.0000000001"}, "has more than 9 decimals"),
        ({"creditsPerDollar": 1, "providers": ["a"]}, "prices.providers must be a table"),
        ({"creditsPerDollar": 1, "providers": {"a": 5}}, 'prices.providers."a": must be'),
        ({"providers": {"a": "openai"}}, "has no effect without prices.creditsPerDollar"),
    ],
)
def test_what_is_no_price_is_refused_by_its_name(table: Any, words: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        read_prices(table)
    assert words in refused.value.message


@given(usages)
def test_without_a_price_a_thousand_tokens_are_a_credit_whatever_a_cache_says(
    usage: Usage,
) -> None:
    assert UNPRICED.of(usage) * 1000 == usage.total_tokens * NANO


@given(prices, prices, prices, prices, usages)
def test_a_request_costs_what_its_tokens_cost_each_of_one_kind(
    read: Decimal, write: Decimal, cached: Decimal, kept: Decimal, usage: Usage
) -> None:
    entry = {"input": read, "output": write, "cacheRead": str(cached), "cacheWrite": kept}
    price = read_prices({"models": {"m": entry}}).of_model("m")
    from_cache = min(usage.cache_read_tokens, usage.input_tokens)
    to_cache = min(usage.cache_write_tokens, usage.input_tokens - from_cache)
    fresh = usage.input_tokens - from_cache - to_cache
    expected = fresh * read + from_cache * cached + to_cache * kept + usage.output_tokens * write
    assert Decimal(price.of(usage)) / NANO == expected / 1_000_000


@given(st.integers(0, 1_000_000 * NANO))
def test_credits_are_written_to_the_last_digit(nano: int) -> None:
    assert Decimal(repr(credits_of(nano))) == Decimal(nano) / NANO
