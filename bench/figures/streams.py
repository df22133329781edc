"""Many streams at once, a word each 100 ms: total time, memory of each, gaps between tokens."""

from bench.lab import DIRECT_TOKEN, TOKEN, Lab, ask_bare, ask_provider, execute
from bench.load import Burst, stream_many
from bench.process import Child
from bench.table import Row, percentile

DELAY = 0.1
TIME_RATIO, KIB, GAP_MS = 1.2, 60.0, 250.0
BOUND = 120.0
WARM_UP = 30


async def measure(lab: Lab) -> list[Row]:
    """Each number of streams: direct, then bare, then ours; targets hold for the first number."""
    rows: list[Row] = []
    model = f"words-{lab.scale.words}-delay-100"
    for index, streams in enumerate(lab.scale.streams):
        direct = await _burst(lab, lab.provider, ask_provider(model), DIRECT_TOKEN, streams)
        async with lab.bare() as child:
            request = ask_bare(f"/stream/{model}")
            await _burst(lab, child, request, TOKEN, WARM_UP)
            bare = await _burst(lab, child, request, TOKEN, streams)
        data = lab.data("streams")
        async with lab.ours(data, concurrency=2 * streams) as child:
            request = execute("slow", stream=True)
            await _burst(lab, child, request, TOKEN, WARM_UP)
            ours = await _burst(lab, child, request, TOKEN, streams)
        lab.drop(data)
        rows += _rows(lab, streams, ours, bare, direct, promised=index == 0)
    return rows


async def _burst(lab: Lab, child: Child, request: bytes, mark: bytes, streams: int) -> Burst:
    words = lab.scale.words
    return await stream_many(child, request, mark, streams=streams, words=words, bound=BOUND)


def _rows(
    lab: Lab, streams: int, ours: Burst, bare: Burst, direct: Burst, *, promised: bool
) -> list[Row]:
    # The first word comes at once, so the ideal has one delay less than words.
    ideal = (lab.scale.words - 1) * DELAY
    time = ours.seconds / ideal
    kib, bare_kib = (burst.memory / streams / 1024 for burst in (ours, bare))
    gap, bare_gap, direct_gap = (percentile(b.gaps, 0.99) * 1000 for b in (ours, bare, direct))
    return [
        Row(
            f"{streams} streams, time over the ideal {ideal:.1f} s",
            f"{time:.2f}×{_short(ours)}",
            f"bare {bare.seconds / ideal:.2f}×{_short(bare)}, direct {direct.seconds / ideal:.2f}×",
            f"{ours.seconds / bare.seconds:.2f}×",
            f"≤ {TIME_RATIO}×" if promised else "–",
            (time <= TIME_RATIO and not ours.short) if promised else None,
        ),
        Row(
            f"{streams} streams, memory of each",
            f"{kib:.0f} KiB",
            f"bare {bare_kib:.0f} KiB",
            f"{kib / bare_kib:.2f}×" if bare_kib else "–",
            f"≤ {KIB:.0f} KiB" if promised else "–",
            kib <= KIB if promised else None,
        ),
        Row(
            f"{streams} streams, gap between tokens, p99",
            f"{gap:.0f} ms",
            f"bare {bare_gap:.0f} ms, direct {direct_gap:.0f} ms",
            f"{gap / bare_gap:.2f}×",
            f"≤ {GAP_MS:.0f} ms" if promised else "–",
            gap <= GAP_MS if promised else None,
        ),
        Row(
            f"{streams} streams, CPU of each",
            f"{ours.cpu_seconds / streams * 1000:.1f} ms",
            f"bare {bare.cpu_seconds / streams * 1000:.1f} ms",
            f"{ours.cpu_seconds / bare.cpu_seconds:.2f}×",
        ),
    ]


def _short(burst: Burst) -> str:
    return f" ({burst.short} streams incomplete)" if burst.short else ""
