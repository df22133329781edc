"""Many streams at once, a word each 100 ms: total time, memory and processor time of each, gaps."""

from bench.lab import Lab
from bench.load import Burst, Cpu, Served, stream_many
from bench.requests import DIRECT_TOKEN, TOKEN, ask_bare, ask_provider, execute
from bench.state import LABELS, SQLITE
from bench.table import Row, percentile, unpromised, with_database

DELAY = 0.1
TIME_RATIO, KIB, GAP_MS = 1.2, 60.0, 250.0
BOUND = 240.0
WARM_UP = 30


async def measure(lab: Lab) -> list[Row]:
    """Directly, bare and ours on each database, one after the other."""
    streams = lab.scale.streams
    request = ask_bare(f"/stream/{_model(lab)}")
    bare = await _burst(lab, await lab.bare(), request, TOKEN, streams)
    others = {"bare": bare, "direct": await _direct(lab, streams)}
    rows = []
    for kind in lab.kinds:
        ours = await _ours(lab, kind, streams)
        found = [
            _time(lab, kind, streams, ours, others),
            _gap(kind, streams, ours, others),
            _memory(kind, streams, ours, bare),
            _cpu(kind, streams, ours, bare),
        ]
        rows += found if kind == SQLITE else [unpromised(row) for row in found]
    return rows


async def measure_many(lab: Lab) -> list[Row]:
    """Directly and ours on each database; the bare endpoint would take minutes."""
    streams = lab.scale.many_streams
    others = {"direct": await _direct(lab, streams)}
    rows: list[Row] = []
    for kind in lab.kinds:
        ours = await _ours(lab, kind, streams)
        found = [
            _time(lab, kind, streams, ours, others),
            _gap(kind, streams, ours, others),
            _memory(kind, streams, ours),
            _cpu(kind, streams, ours),
        ]
        rows += map(unpromised, found)
    return rows


def _model(lab: Lab) -> str:
    return f"words-{lab.scale.words}-delay-100"


async def _direct(lab: Lab, streams: int) -> Burst:
    return await _burst(lab, lab.provider, ask_provider(_model(lab)), DIRECT_TOKEN, streams)


async def _ours(lab: Lab, kind: str, streams: int) -> Burst:
    state = lab.states.empty(kind, "streams")
    async with lab.ours(state, concurrency=2 * streams) as child:
        request, database = execute("slow", stream=True), lab.database_cpu(kind)
        burst = await _burst(lab, child, request, TOKEN, streams, database)
    lab.states.drop(state)
    return burst


async def _burst(
    lab: Lab, child: Served, request: bytes, mark: bytes, streams: int, database: Cpu = float
) -> Burst:
    async def burst(streams: int) -> Burst:
        words = lab.scale.words
        return await stream_many(
            child, request, mark, streams=streams, words=words, bound=BOUND, database=database
        )

    await burst(WARM_UP)
    return await burst(streams)


def _time(lab: Lab, kind: str, streams: int, ours: Burst, others: dict[str, Burst]) -> Row:
    # The provider says the first word at once and ends one delay after the last.
    ideal = lab.scale.words * DELAY
    first = next(iter(others.values()))
    return Row(
        f"{streams} streams, time over the ideal {ideal:.1f} s",
        f"{ours.seconds / ideal:.2f}×{_short(ours)}",
        ", ".join(f"{name} {b.seconds / ideal:.2f}×{_short(b)}" for name, b in others.items()),
        f"{ours.seconds / first.seconds:.2f}×",
        f"≤ {TIME_RATIO}×",
        ours.seconds <= TIME_RATIO * ideal and not ours.short and not ours.refused,
        LABELS[kind],
    )


def _gap(kind: str, streams: int, ours: Burst, others: dict[str, Burst]) -> Row:
    gap = percentile(ours.gaps, 0.99) * 1000
    found = {name: percentile(burst.gaps, 0.99) * 1000 for name, burst in others.items()}
    return Row(
        f"{streams} streams, gap between tokens, p99",
        f"{gap:.0f} ms",
        ", ".join(f"{name} {value:.0f} ms" for name, value in found.items()),
        f"{gap / next(iter(found.values())):.2f}×",
        f"≤ {GAP_MS:.0f} ms",
        gap <= GAP_MS,
        LABELS[kind],
    )


def _memory(kind: str, streams: int, ours: Burst, bare: Burst | None = None) -> Row:
    kib = ours.memory / ours.served / 1024
    bare_kib = bare.memory / bare.served / 1024 if bare else 0.0
    return Row(
        f"{streams} streams, memory of each",
        f"{kib:.0f} KiB",
        f"bare {bare_kib:.0f} KiB" if bare else "–",
        f"{kib / bare_kib:.2f}×" if bare_kib else "–",
        f"≤ {KIB:.0f} KiB",
        kib <= KIB,
        LABELS[kind],
    )


def _cpu(kind: str, streams: int, ours: Burst, bare: Burst | None = None) -> Row:
    own = ours.cpu_seconds / ours.served * 1000
    bare_ms = bare.cpu_seconds / bare.served * 1000 if bare else 0.0
    return Row(
        f"{streams} streams, CPU of each",
        with_database(f"{own:.1f} ms", ours.database_seconds / ours.served * 1000, "ms"),
        f"bare {bare_ms:.1f} ms" if bare else "–",
        f"{own / bare_ms:.2f}×" if bare_ms else "–",
        database=LABELS[kind],
    )


def _short(burst: Burst) -> str:
    """What is wrong with the burst, where something is."""
    counts = {"refused": burst.refused, "incomplete": burst.short}
    counted = ", ".join(f"{count} streams {word}" for word, count in counts.items() if count)
    return f" ({counted})" if counted else ""
