"""Times from one moment to another as rows: median and 99th percentile, beside a baseline."""

from bench.table import Row, absent, percentile

DIRECT = "direct"
SHARES = {"median": 0.5, "p99": 0.99}


def latencies(
    figure: str,
    database: str,
    seconds: list[float],
    baseline: tuple[str, list[float]],
    target_ms: float | None = None,
) -> list[Row]:
    """`target_ms` is the median's; `baseline` a name and its seconds.

    There is no ratio to the provider called directly: what lies between is another thing.
    """
    name, others = baseline
    rows = []
    for word, share in SHARES.items():
        ours, bare = percentile(seconds, share) * 1000, percentile(others, share) * 1000
        promised = target_ms is not None and word == "median"
        rows.append(
            Row(
                f"{figure}, {word}",
                f"{ours:.1f} ms",
                f"{name} {bare:.2f} ms",
                f"{ours / bare:.2f}×" if bare > 0 and name != DIRECT else "–",
                f"≤ {target_ms:.0f} ms" if promised else "–",
                ours <= target_ms if promised and target_ms is not None else None,
                database,
            )
        )
    return rows


def no_latencies(figure: str, database: str, why: str) -> list[Row]:
    """The same rows where they make no sense."""
    return [absent(f"{figure}, {word}", database, why) for word in SHARES]
