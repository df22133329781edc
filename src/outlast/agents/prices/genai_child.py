"""The child of `genai`: finds models in the list of prices that `genai-prices` ships.

Run by path. Standard input is `[{provider, url, named, model}]`, standard output
`{version, found: [{provider, model, periods} | {problem} | null]}`. It never fetches: the package
does so only where its `UpdatePrices` is started.
"""

import json
import sys
from decimal import Decimal
from importlib.metadata import version
from typing import Any, Final

_KEYS: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cacheRead": "cache_read_mtok",
    "cacheWrite": "cache_write_mtok",
    "request": "requests_kcount",
}
_OPTIONAL: Final = ("cacheRead", "cacheWrite")
"""Charged as input where the provider has no price of its own for them."""


def find(wanted: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """Return what the list has of each model; None if it has no price of it."""
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    return [_found(snapshot, **one) for one in wanted]


def _found(
    snapshot: Any, provider: str, url: str | None, named: str | None, model: str
) -> dict[str, Any] | None:
    place = _place(snapshot, provider, url, named)
    if place is None:
        return {"problem": f"genai-prices has no provider {named!r}"} if named else None
    try:
        at, info = snapshot.find_provider_model(model, place, None, None)
    except LookupError:
        return None
    prices = info.prices
    dated = [(one.constraint, one.prices) for one in prices] if isinstance(prices, list) else []
    periods = [_period(*one) for one in dated or [(None, prices)]]
    if not all(periods):
        return None
    return {"provider": at.id, "model": info.id, "periods": periods}


def _place(snapshot: Any, provider: str, url: str | None, named: str | None) -> Any:
    """Return the provider: the one named, else the URL's, else the kind's."""
    from genai_prices.data_snapshot import find_provider_by_id

    if named is not None:
        return next((one for one in snapshot.providers if one.id == named), None)
    try:
        if url is not None:
            return snapshot.find_provider(None, None, url)
    except LookupError:
        return None
    kind = provider.removeprefix("gateway/")
    whole = find_provider_by_id(snapshot.providers, kind)
    return whole or find_provider_by_id(snapshot.providers, kind.partition("-")[0])


def _period(constraint: Any, prices: Any) -> dict[str, Any] | None:
    """Return prices with when they apply; None if they are not those of a language model."""
    given = {name: getattr(prices, key) for name, key in _KEYS.items()}
    if given["input"] is None and given["output"] is None:
        return None
    starts = {0}
    for price in given.values():
        starts |= {tier.start for tier in getattr(price, "tiers", ())}
    rates = []
    for start in sorted(starts):
        rate = {name: _at(price, start) for name, price in given.items() if price is not None}
        for name in _OPTIONAL:
            rate.setdefault(name, rate.get("input", "0"))
        rates.append({"above": start, "input": "0", "output": "0", **rate})
    return {
        "from": _text(constraint, "start_date"),
        "between": [_text(constraint, "start_time"), _text(constraint, "end_time")]
        if hasattr(constraint, "start_time")
        else None,
        "rates": rates,
    }


def _at(price: Any, start: int) -> str:
    """Return the price of a request with more input tokens than `start`."""
    if isinstance(price, Decimal):
        return str(price)
    found = price.base
    for tier in price.tiers:  # ascending
        if tier.start <= start and start:
            found = tier.price
    return str(found)


def _text(constraint: Any, name: str) -> str | None:
    """Return a date or a time of a constraint, in UTC as a time is without a zone."""
    value = getattr(constraint, name, None)
    return None if value is None else value.isoformat()


def main() -> None:
    """Answer standard input on standard output."""
    found = find(json.load(sys.stdin))
    json.dump({"version": version("genai-prices"), "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
