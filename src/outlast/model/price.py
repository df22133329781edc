"""Credits: what a model's tokens and a tool's calls cost.

Credits are exact: integers of billionths of a credit inside, so that sums are the same wherever
they are computed; decimals outside. A model's price is in credits per 1,000,000 tokens, a tool's in
credits per call.
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
_CALL_DECIMALS: Final = 9
_TOKEN_DECIMALS: Final = 3
"""Decimals of a price per 1,000,000 tokens: with these, one token costs whole billionths."""
_HIGHEST: Final = 1_000_000
"""Highest price, in credits: keeps every sum well inside 64 bits."""
_EXACT: Final = Context(prec=40, traps=[Inexact, InvalidOperation])


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """Billionths of a credit per token."""

    input: int
    output: int
    cache_read: int
    cache_write: int

    def of(self, usage: Usage) -> int:
        """Return the cost of a request; cache tokens are charged at cache prices only."""
        read = min(usage.cache_read_tokens, usage.input_tokens)
        written = min(usage.cache_write_tokens, usage.input_tokens - read)
        return (
            (usage.input_tokens - read - written) * self.input
            + read * self.cache_read
            + written * self.cache_write
            + usage.output_tokens * self.output
        )


UNPRICED: Final = ModelPrice(*(NANO // 1000,) * 4)
"""Price of a model without one: 1 credit per 1,000 tokens."""


@dataclass(frozen=True, slots=True)
class Prices:
    """The operator's prices, by name."""

    models: Mapping[str, ModelPrice] = field(default_factory=lambda: MappingProxyType({}))
    tools: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Billionths of a credit per call; a tool without a price is free."""

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

    Raises Misconfigured, naming the entry.
    """
    given = _table("prices", table, ("models", "tools"))
    models = _table("prices.models", given.get("models", {}))
    tools = _table("prices.tools", given.get("tools", {}))
    return Prices(
        {name: _model_price(f'prices.models."{name}"', entry) for name, entry in models.items()},
        {
            name: _nano(f'prices.tools."{name}"', price, _CALL_DECIMALS)
            for name, price in tools.items()
        },
    )


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
    if isinstance(price, bool) or not isinstance(price, int | float | str | Decimal):
        raise Misconfigured(f"{where}: {price!r} is not a price, as 0.25 or '0.25'.")
    try:
        exact = Decimal(str(price))
    except InvalidOperation as error:
        raise Misconfigured(f"{where}: {price!r} is not a price, as 0.25 or '0.25'.") from error
    if not exact.is_finite() or not 0 <= exact <= _HIGHEST:
        raise Misconfigured(f"{where}: {price} is not between 0 and {_HIGHEST} credits.")
    try:
        return int(exact.quantize(Decimal((0, (1,), -decimals)), context=_EXACT) * 10**decimals)
    except Inexact as error:
        raise Misconfigured(
            f"{where}: {price} has more than {decimals} decimals: it cannot be charged exactly."
        ) from error
