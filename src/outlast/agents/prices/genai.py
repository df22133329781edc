"""List prices of providers, from the data that the package `genai-prices` ships.

Its data takes up to a second and 100 MB to import, so that a child process does it and ends: this
process keeps the few prices that it uses.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import orjson

from outlast.agents.port import Offer
from outlast.model.error import Misconfigured
from outlast.model.extra import install
from outlast.model.price import NANO, ModelPrice, Rate

PACKAGE: Final = "genai-prices"
_CHILD: Final = Path(__file__).with_name("genai_child.py")
_SECONDS: Final = 30.0
"""Timeout of the child; without compiled modules it takes some seconds."""
_PER_TOKEN: Final = NANO // 1_000_000
"""Billionths per token in a credit per 1,000,000 tokens, as the list's prices of tokens are."""
_PER_REQUEST: Final = NANO // 1000
"""Billionths per request in a credit per 1,000 requests, as the list's prices of requests are."""
_SAID: Final = 300


class ListUnavailable(Exception):
    """The list of prices cannot be read."""


@dataclass(frozen=True, slots=True)
class Period:
    """Prices, and when they apply; always, if it has neither a start nor an interval."""

    price: ModelPrice
    start: date | None = None
    between: tuple[time, time] | None = None
    """Part of each day, in UTC; its end is not included, and may be on the next day."""

    def holds(self, now: datetime) -> bool:
        """Whether the prices apply, if no later period's do."""
        if self.start is not None and now.date() < self.start:
            return False
        if self.between is None:
            return True
        (begin, end), at = self.between, now.time()
        return begin <= at < end if begin <= end else at >= begin or at < end


@dataclass(frozen=True, slots=True)
class ListPrice:
    """Prices of a model in the list."""

    provider: str
    model: str
    """The model's id there."""
    version: str
    """Version of the package."""
    periods: tuple[Period, ...]

    def at(self, now: int) -> ModelPrice:
        """Return the price at a time in milliseconds since the epoch."""
        moment = datetime.fromtimestamp(now / 1000, UTC)
        found = (period for period in reversed(self.periods) if period.holds(moment))
        return next(found, self.periods[0]).price


def require_package() -> None:
    """Raise Misconfigured if the package is not installed."""
    if find_spec("genai_prices") is None:
        raise Misconfigured(f"prices.creditsPerDollar needs an extra: {install('prices')}")


async def read(offers: Sequence[Offer], per_dollar: Decimal) -> list[ListPrice | str | None]:
    """Return for each offer its price in credits, what is wrong with it, or None if it has none.

    Raises ListUnavailable.
    """
    answer = await _ask([asdict(offer) for offer in offers])
    return [_list_price(one, answer["version"], per_dollar) for one in answer["found"]]


async def _ask(wanted: list[dict[str, Any]]) -> Any:
    try:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", str(_CHILD)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is the server's to treat
        )
    except OSError as error:
        raise ListUnavailable(f"A process for {PACKAGE} cannot be started: {error}") from error
    try:
        async with asyncio.timeout(_SECONDS):
            out, complaint = await child.communicate(orjson.dumps(wanted))
    except TimeoutError as error:
        raise ListUnavailable(f"{PACKAGE} gave no price in {_SECONDS:g} s.") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        detail = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2][:_SAID]
        raise ListUnavailable(f"{PACKAGE} cannot be read: {detail or child.returncode}")
    return orjson.loads(out)


def _list_price(
    found: dict[str, Any] | None, version: str, per_dollar: Decimal
) -> ListPrice | str | None:
    if found is None:
        return None
    if "problem" in found:
        return str(found["problem"])
    periods = tuple(
        Period(
            _price(period["rates"], per_dollar),
            None if period["from"] is None else date.fromisoformat(period["from"]),
            None if period["between"] is None else _interval(period["between"]),
        )
        for period in found["periods"]
    )
    return ListPrice(found["provider"], found["model"], version, periods)


def _interval(texts: Sequence[str]) -> tuple[time, time]:
    begin, end = (_utc(time.fromisoformat(text)) for text in texts)
    return begin, end


def _utc(at: time) -> time:
    if at.tzinfo is None:
        return at
    return datetime.combine(date(2000, 1, 1), at).astimezone(UTC).time()


def _price(rates: Sequence[dict[str, Any]], per_dollar: Decimal) -> ModelPrice:
    """Return the price in credits, exact: in parts of a billionth where that is needed."""
    given = [
        {name: per_dollar * Decimal(price) for name, price in rate.items() if name != "above"}
        for rate in rates
    ]
    decimals = max(-int(price.as_tuple().exponent) for rate in given for price in rate.values())
    parts = 10 ** max(0, decimals)

    def whole(rate: dict[str, Decimal], name: str, billionths: int = _PER_TOKEN) -> int:
        return int(rate.get(name, 0) * billionths * parts)

    return ModelPrice.of_rates(
        tuple(
            Rate(
                found["above"],
                whole(rate, "input"),
                whole(rate, "output"),
                whole(rate, "cacheRead"),
                whole(rate, "cacheWrite"),
                whole(rate, "request", _PER_REQUEST),
            )
            for found, rate in zip(rates, given, strict=True)
        ),
        parts,
    )
