"""Many streams at once, a word each 100 ms: total time, memory and processor time of each, gaps."""

from bench.lab import DIRECT_TOKEN, TOKEN, Lab, ask_bare, ask_provider, execute
from bench.load import Burst, stream_many
from bench.process import Child
from bench.table import Row, percentile

DELAY = 0.1
TIME_RATIO, KIB, GAP_MS = 1.2, 60.0, 250.0
BOUND = 240.0
WARM_UP = 30


async def measure(lab: Lab) -> list[Row]:
    """Directly, bare and ours, one after the other."""
    streams = lab.scale.streams
    request = ask_bare(f"/stream/{_model(lab)}")
    bare = await _burst(lab, await lab.bare(), request, TOKEN, streams)
    direct = await _direct(lab, streams)
    ours = await _ours(lab, streams)
    return [
        _time(lab, streams, ours, {"bare": bare, "direct": direct}, promised=True),
        _gap(streams, ours, {"bare": bare, "direct": direct}, promised=True),
        _memory(streams, ours, bare),
        Row(
            f"{streams} streams, CPU of each",
            f"{ours.cpu_seconds / streams * 1000:.1f} ms",
            f"bare {bare.cpu_seconds / streams * 1000:.1f} ms",
            f"{ours.cpu_seconds / bare.cpu_seconds:.2f}×",
        ),
    ]


async def measure_many(lab: Lab) -> list[Row]:
    """Directly and ours; the bare endpoint would take minutes."""
    streams = lab.scale.many_streams
    direct = await _direct(lab, streams)
    ours = await _ours(lab, streams)
    return [
        _time(lab, streams, ours, {"direct": direct}),
        _gap(streams, ours, {"direct": direct}),
        _memory(streams, ours),
        Row(f"{streams} streams, CPU of each", f"{ours.cpu_seconds / streams * 1000:.1f} ms"),
    ]


def _model(lab: Lab) -> str:
    return f"words-{lab.scale.words}-delay-100"


async def _direct(lab: Lab, streams: int) -> Burst:
    return await _burst(lab, lab.provider, ask_provider(_model(lab)), DIRECT_TOKEN, streams)


async def _ours(lab: Lab, streams: int) -> Burst:
    data = lab.data("streams")
    async with lab.ours(data, concurrency=2 * streams) as child:
        burst = await _burst(lab, child, execute("slow", stream=True), TOKEN, streams)
    lab.drop(data)
    return burst


async def _burst(lab: Lab, child: Child, request: bytes, mark: bytes, streams: int) -> Burst:
    words = lab.scale.words
    await stream_many(child, request, mark, streams=WARM_UP, words=words, bound=BOUND)
    return await stream_many(child, request, mark, streams=streams, words=words, bound=BOUND)


def _time(
    lab: Lab, streams: int, ours: Burst, others: dict[str, Burst], *, promised: bool = False
) -> Row:
    # The provider says the first word at once and ends one delay after the last.
    ideal = lab.scale.words * DELAY
    first = next(iter(others.values()))
    return Row(
        f"{streams} streams, time over the ideal {ideal:.1f} s",
        f"{ours.seconds / ideal:.2f}×{_short(ours)}",
        ", ".join(f"{name} {b.seconds / ideal:.2f}×{_short(b)}" for name, b in others.items()),
        f"{ours.seconds / first.seconds:.2f}×",
        f"≤ {TIME_RATIO}×" if promised else "–",
        (ours.seconds <= TIME_RATIO * ideal and not ours.short) if promised else None,
    )


def _gap(streams: int, ours: Burst, others: dict[str, Burst], *, promised: bool = False) -> Row:
    gap = percentile(ours.gaps, 0.99) * 1000
    found = {name: percentile(burst.gaps, 0.99) * 1000 for name, burst in others.items()}
    return Row(
        f"{streams} streams, gap between tokens, p99",
        f"{gap:.0f} ms",
        ", ".join(f"{name} {value:.0f} ms" for name, value in found.items()),
        f"{gap / next(iter(found.values())):.2f}×",
        f"≤ {GAP_MS:.0f} ms" if promised else "–",
        gap <= GAP_MS if promised else None,
    )


def _memory(streams: int, ours: Burst, bare: Burst | None = None) -> Row:
    kib = ours.memory / streams / 1024
    bare_kib = bare.memory / streams / 1024 if bare else 0.0
    return Row(
        f"{streams} streams, memory of each",
        f"{kib:.0f} KiB",
        f"bare {bare_kib:.0f} KiB" if bare else "–",
        f"{kib / bare_kib:.2f}×" if bare_kib else "–",
        f"≤ {KIB:.0f} KiB" if bare else "–",
        kib <= KIB if bare else None,
    )


def _short(burst: Burst) -> str:
    return f" ({burst.short} streams incomplete)" if burst.short else ""
