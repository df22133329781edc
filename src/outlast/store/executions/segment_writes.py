"""What a running segment writes between its moves: text, and its time."""

from collections import defaultdict
from collections.abc import Sequence

from outlast.model.event import Entry
from outlast.model.event_codec import encode
from outlast.store.driver import Batch, Transaction, TransactionResult
from outlast.store.executions.browsers import active_time_query
from outlast.store.executions.log import APPEND_TEXT
from outlast.store.executions.spending import spend_time
from outlast.store.executions.values import ActiveTime, TextAppend
from outlast.store.listeners import Committed


def append_text(appends: Sequence[TextAppend]) -> Transaction[list[bool]]:
    """Append pieces to the logs, each execution's only while its segment runs.

    Rows are locked in one order, the newest id first, like in `record_active_time`: no deadlock,
    neither with that nor with the end of a child that wakes its parent.
    """
    rows = yield Batch(
        APPEND_TEXT,
        tuple(
            {
                "id": wanted.execution.id,
                "workspace": wanted.execution.workspace_id,
                "segment": wanted.execution.segment,
                "kind": text.kind,
                "pieces": len(text.pieces),
                "data": encode(text).decode(),
                "at": at,
            }
            for wanted in sorted(appends, key=lambda one: one.execution.id, reverse=True)
            for at, text in wanted.texts
        ),
        alone=True,
    )
    ends: dict[tuple[str, int], list[int]] = defaultdict(list)
    for execution_id, segment, seq in rows:
        ends[execution_id, segment].append(seq)
    committed = [
        Committed(w.execution.id, _appended(w, ends[w.execution.id, w.execution.segment]))
        for w in appends
    ]
    kept = [len(one.entries) == len(w.texts) for one, w in zip(committed, appends, strict=True)]
    return TransactionResult(kept, tuple(committed))


def _appended(wanted: TextAppend, ends: list[int]) -> tuple[Entry, ...]:
    segment = wanted.execution.segment
    return tuple(
        Entry(segment, seq, at, text)
        for seq, (at, text) in zip(sorted(ends), wanted.texts, strict=False)
    )


def record_active_time(active_times: Sequence[ActiveTime]) -> Transaction[list[int | None]]:
    """Add the time of running segments; rows are locked the newest id first, as everywhere.

    Return the milliseconds that its budgets leave each; None if they do not bound them.
    """
    for active_time in sorted(active_times, key=lambda one: one.execution.id, reverse=True):
        yield active_time_query(active_time)
    return TransactionResult((yield from spend_time(active_times)))
