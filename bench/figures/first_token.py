"""Time to the first token, over the provider called directly.

Samples of ours, the bare endpoint and the provider alternate, one at a time, connections kept.
The overhead of a sample is its time less the median of the direct ones.
"""

from bench.client import Connection
from bench.lab import DIRECT_TOKEN, TOKEN, Lab, ask_bare, ask_provider, execute
from bench.load import first_token
from bench.table import Row, median, percentile

MODEL = "words-3-delay-10"
MEDIAN_MS, P99_MS = 5.0, 12.0
WARM_UP = 20


async def measure(lab: Lab) -> list[Row]:
    """Median and 99th percentile."""
    data = lab.data("first-token")
    bare = await lab.bare()
    async with lab.ours(data) as ours:
        asks = {
            "ours": (ours.port, execute("first", stream=True), TOKEN),
            "bare": (bare.port, ask_bare(f"/stream/{MODEL}"), TOKEN),
            "direct": (lab.provider.port, ask_provider(MODEL), DIRECT_TOKEN),
        }
        times = await _alternate(asks, lab.scale.first_tokens)
    lab.drop(data)
    direct = median(times["direct"])
    over = {name: [(t - direct) * 1000 for t in times[name]] for name in times}
    return [
        _row("median", median(over["ours"]), median(over["bare"]), direct, MEDIAN_MS),
        _row("p99", percentile(over["ours"], 0.99), percentile(over["bare"], 0.99), direct, P99_MS),
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


def _row(word: str, ours: float, bare: float, direct: float, target: float) -> Row:
    return Row(
        f"first token over direct, {word}",
        f"{ours:.1f} ms",
        f"bare {bare:.1f} ms (direct {direct * 1000:.2f} ms)",
        f"{ours / bare:.2f}×" if bare > 0 else "–",
        f"≤ {target:.0f} ms",
        ours <= target,
    )
