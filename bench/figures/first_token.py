"""Time to the first token, over the provider called directly.

Samples of ours on each database, the bare endpoint and the provider alternate, one at a time,
connections kept. The overhead of a sample is its time less the median of the direct ones.
"""

from contextlib import AsyncExitStack

from bench.client import Connection
from bench.lab import Lab
from bench.load import first_token
from bench.requests import DIRECT_TOKEN, TOKEN, ask_bare, ask_provider, execute
from bench.state import LABELS, SQLITE
from bench.table import Row, median, percentile, unpromised

MODEL = "words-3-delay-10"
MEDIAN_MS, P99_MS = 5.0, 12.0
WARM_UP = 20


async def measure(lab: Lab) -> list[Row]:
    """Median and 99th percentile."""
    states = {kind: lab.states.empty(kind, "first-token") for kind in lab.kinds}
    bare = await lab.bare()
    async with AsyncExitStack() as stack:
        asks = {
            "bare": (bare.port, ask_bare(f"/stream/{MODEL}"), TOKEN),
            "direct": (lab.provider.port, ask_provider(MODEL), DIRECT_TOKEN),
        }
        for kind, state in states.items():
            ours = await stack.enter_async_context(lab.ours(state))
            asks[kind] = (ours.port, execute("first", stream=True), TOKEN)
        times = await _alternate(asks, lab.scale.first_tokens)
    lab.states.drop(*states.values())
    direct = median(times["direct"])
    over = {name: [(t - direct) * 1000 for t in found] for name, found in times.items()}
    return [
        row
        for kind in lab.kinds
        for row in (
            _row(kind, "median", median(over[kind]), median(over["bare"]), direct, MEDIAN_MS),
            _row(kind, "p99", _p99(over[kind]), _p99(over["bare"]), direct, P99_MS),
        )
    ]


async def _alternate(
    asks: dict[str, tuple[int, bytes, bytes]], samples: int
) -> dict[str, list[float]]:
    connections = {name: await Connection.open(port) for name, (port, _, _) in asks.items()}
    times: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(WARM_UP + samples):
        for name, (_, request, mark) in asks.items():
            times[name].append(await first_token(connections[name], request, mark))
    for connection in connections.values():
        connection.close()
    return {name: values[WARM_UP:] for name, values in times.items()}


def _p99(values: list[float]) -> float:
    return percentile(values, 0.99)


def _row(kind: str, word: str, ours: float, bare: float, direct: float, target: float) -> Row:
    row = Row(
        f"first token over direct, {word}",
        f"{ours:.1f} ms",
        f"bare {bare:.1f} ms (direct {direct * 1000:.2f} ms)",
        f"{ours / bare:.2f}×" if bare > 0 else "–",
        f"≤ {target:.0f} ms",
        ours <= target,
        LABELS[kind],
    )
    return row if kind == SQLITE else unpromised(row)
