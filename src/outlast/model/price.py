"""Credits: what a model's tokens and a tool's calls cost.

Credits are exact: integers of billionths of a credit inside, so that sums are the same wherever
they are computed; decimals outside. A model's price is in credits per 1,000,000 tokens, a tool's in
credits per call. The operator's own prices never need rounding. A list price may be finer than a
billionth of a credit per token: then the cost of a request is rounded up to a billionth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation
from types import MappingProxyType
from typing import Any, Final

from outlast.model.error import Misconfigured
from outlast.model.usage import Usage

NANO: Final = 1_000_000_000
"""Billionths in a credit."""
BROWSER_SECONDS: Final = "browserSeconds"
"""Among the prices of tools: of a second that an execution's browser is open."""
_CALL_DECIMALS: Final = 9
_TOKEN_DECIMALS: Final = 3
"""Decimals of a price per 1,000,000 tokens: with these, one token costs whole billionths."""
_HIGHEST: Final = 1_000_000
"""Highest price, in credits: keeps every sum well inside 64 bits."""
_MOST_PER_DOLLAR: Final = 100_000
"""Highest `creditsPerDollar`: keeps every sum well inside 64 bits."""
_EXACT: Final = Context(prec=40, traps=[Inexact, InvalidOperation])


@dataclass(frozen=True, slots=True)
class Rate:
    """Price of requests of a certain size, in the unit of its ModelPrice."""

    above: int
    """It applies to requests with more input tokens than this."""
    input: int
    output: int
    cache_read: int
    cache_write: int
    request: int = 0
    """For the request itself."""

    def of(self, usage: Usage) -> int:
        """Return the cost of a request; cache tokens are charged at cache prices only."""
        return self.request + _cost(self, usage)


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """Billionths of a credit per token; where there are `rates`, the highest, rounded up."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    rates: tuple[Rate, ...] = ()
    """By `above`, ascending, the first from 0. Empty: the four prices above are the exact ones."""
    parts: int = 1
    """How many of the rates' unit make a billionth of a credit."""

    @classmethod
    def of_rates(cls, rates: tuple[Rate, ...], parts: int) -> "ModelPrice":
        """Return the price with these rates, of `parts` to a billionth of a credit."""
        return cls(
            -(-max(rate.input for rate in rates) // parts),
            -(-max(rate.output for rate in rates) // parts),
            -(-max(rate.cache_read for rate in rates) // parts),
            -(-max(rate.cache_write for rate in rates) // parts),
            rates,
            parts,
        )

    def of(self, usage: Usage) -> int:
        """Return the cost of a request; cache tokens are charged at cache prices only."""
        if self.rates:
            rate = next(
                r for r in reversed(self.rates) if usage.input_tokens > r.above or not r.above
            )
            return -(-rate.of(usage) // self.parts)
        return _cost(self, usage)


def _cost(price: ModelPrice | Rate, usage: Usage) -> int:
    read = min(usage.cache_read_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - read)
    return (
        (usage.input_tokens - read - written) * price.input
        + read * price.cache_read
        + written * price.cache_write
        + usage.output_tokens * price.output
    )


UNPRICED: Final = ModelPrice(*(NANO // 1000,) * 4)
"""Price of a model without one: 1 credit per 1,000 tokens."""


@dataclass(frozen=True, slots=True)
class Prices:
    """The operator's prices, by name."""

    models: Mapping[str, ModelPrice] = field(default_factory=lambda: MappingProxyType({}))
    tools: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Billionths of a credit per call; a tool without a price is free."""
    credits_per_dollar: Decimal | None = None
    """What a dollar of a provider's list price is in credits; None: list prices are not used."""
    providers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """By a provider's name in model strings, its id in the list of prices."""

    def find(self, requested: str, answered: str = "") -> ModelPrice | None:
        """Return the price by the agent's name of the model, else by the provider's; or None."""
        return self.models.get(requested) or self.models.get(answered)

    def of_model(self, requested: str, answered: str = "") -> ModelPrice:
        """Return the price by the agent's name of the model, else by the provider's name of it."""
        return self.models.get(requested) or self.models.get(answered) or UNPRICED

    def of_tool(self, name: str) -> int:
        """Return the price of one call."""
        return self.tools.get(name, 0)


def credits_of(nano: int) -> float:
    """Return billionths as credits; exact to the last digit below a million credits."""
    return nano / NANO


# --- the settings' table


def read_prices(table: Any) -> Prices:
    """Read `{models: {NAME: {input, output, cacheRead?, cacheWrite?}}, tools: {NAME: price}}`.

    Also `creditsPerDollar` and `providers: {NAME: id}`. Raises Misconfigured, naming the entry.
    """
    given = _table("prices", table, ("models", "tools", "creditsPerDollar", "providers"))
    models = _table("prices.models", given.get("models", {}))
    tools = _table("prices.tools", given.get("tools", {}))
    return Prices(
        {name: _model_price(f'prices.models."{name}"', entry) for name, entry in models.items()},
        {
            name: _nano(f'prices.tools."{name}"', price, _CALL_DECIMALS)
            for name, price in tools.items()
        },
        _per_dollar(given.get("creditsPerDollar")),
        _provider_ids(given),
    )


def _per_dollar(value: Any) -> Decimal | None:
    if value is None:
        return None
    where = "prices.creditsPerDollar"
    exact = _decimal(where, value, "a number of credits, as 100")
    if not exact.is_finite() or not 0 < exact <= _MOST_PER_DOLLAR:
        raise Misconfigured(f"{where}: {value} is not more than 0 and at most {_MOST_PER_DOLLAR}.")
    if exact != round(exact, _CALL_DECIMALS):
        raise Misconfigured(f"{where}: {value} has more than {_CALL_DECIMALS} decimals.")
    return exact


def _provider_ids(given: Mapping[str, Any]) -> Mapping[str, str]:
    found = _table("prices.providers", given.get("providers", {}))
    for name, value in found.items():
        if not isinstance(value, str) or not value:
            raise Misconfigured(
                f'prices.providers."{name}": must be a provider of genai-prices, as "openai".'
            )
    if found and "creditsPerDollar" not in given:
        raise Misconfigured("prices.providers has no effect without prices.creditsPerDollar.")
    return found


def _model_price(where: str, entry: Any) -> ModelPrice:
    given = _table(where, entry, ("input", "output", "cacheRead", "cacheWrite"))
    for name in ("input", "output"):
        if name not in given:
            raise Misconfigured(f"{where}: {name} is missing.")
    each = {name: _nano(f"{where}.{name}", price, _TOKEN_DECIMALS) for name, price in given.items()}
    return ModelPrice(
        each["input"],
        each["output"],
        each.get("cacheRead", each["input"]),
        each.get("cacheWrite", each["input"]),
    )


def _table(where: str, found: Any, known: tuple[str, ...] | None = None) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise Misconfigured(f"{where} must be a table.")
    unknown = sorted(set(found) - set(known)) if known is not None else []
    if unknown:
        raise Misconfigured(
            f"{where}: unknown key {unknown[0]!r}. Known: {', '.join(known or ())}."
        )
    return found


def _nano(where: str, price: Any, decimals: int) -> int:
    """Return billionths per token or call. A float is read by its shortest decimal form."""
    exact = _decimal(where, price, "a price, as 0.25 or '0.25'")
    if not exact.is_finite() or not 0 <= exact <= _HIGHEST:
        raise Misconfigured(f"{where}: {price} is not between 0 and {_HIGHEST} credits.")
    try:
        return int(exact.quantize(Decimal((0, (1,), -decimals)), context=_EXACT) * 10**decimals)
    except Inexact as error:
        raise Misconfigured(
            f"{where}: {price} has more than {decimals} decimals: it cannot be charged exactly."
        ) from error


def _decimal(where: str, value: Any, expected: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise Misconfigured(f"{where}: {value!r} is not {expected}.")
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise Misconfigured(f"{where}: {value!r} is not {expected}.") from error
