"""What goes from process to process, and how long it takes: work, text, the request to cancel.

On SQLite the same is taken within the one process that there is.
"""

from bench.figures.across_cancel import cancels
from bench.figures.across_start import starts
from bench.figures.across_text import texts
from bench.handover import HandOver, hand_over
from bench.lab import Lab
from bench.table import Row
from bench.ways import Way, open_way


async def measure(lab: Lab) -> list[Row]:
    """On each database, one after the other, nothing else going on."""
    rows: list[Row] = []
    for kind in lab.kinds:
        async with open_way(lab, kind) as way:
            rows += await starts(lab, way, await _bare(lab, way, durable=True))
            rows += await texts(lab, way, await _bare(lab, way, durable=False))
            rows += await cancels(lab, way)
    return rows


async def _bare(lab: Lab, way: Way, *, durable: bool) -> HandOver | None:
    """Baseline (d), where commits are timed; ours logs text without waiting for the disk."""
    if way.untimed:
        return None
    state = lab.states.empty(way.state.kind, "hand-over")
    found = await hand_over(state.url, lab.scale.hand_overs, durable=durable)
    lab.states.drop(state)
    return found
