"""Fill a database with rows of executions alone, by SQL, and one execution with steps.

The server must not run on it. Rows are copies of one, a second apart, so that the original stays
the newest; what belongs to an execution elsewhere is not copied, so only lists can show them.
"""

import re
from collections.abc import Iterator
from typing import Any

from bench.fill import tables_of
from bench.state import State

BATCH = 200_000
APART_MS = 1000
CANCELLED = 5_000
"""One in so many."""
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_TIMES = ("created_at", "started_at", "updated_at", "completed_at")
_TIME_DIGITS = 10
"""Of an id: 48 bits of time behind two that are 0, five bits in each."""
_STEP = re.compile(r'"step":(\d+)')


def fill_rows(state: State, execution_id: str, count: int) -> None:
    """Copy the row of an execution that has ended so often."""
    with tables_of(state) as tables:
        names, _ = tables.select("executions", "id", execution_id)
    made = {name: f"e.{name}" for name in names}
    made |= {name: f"e.{name} - n.n * {APART_MS}" for name in _TIMES}
    earlier = f"(e.created_at - n.n * {APART_MS})"
    for name, prefix in (("id", "exec_"), ("conversation_id", "conv_")):
        made[name] = _id(prefix, earlier, f"e.{name}")
    made["status"] = f"CASE WHEN n.n % {CANCELLED} = 0 THEN 'cancelled' ELSE e.status END"
    columns = ", ".join(f'"{name}"' for name in names)
    for start in range(1, count + 1, BATCH):
        last = min(start + BATCH - 1, count)
        state.rows(
            f"INSERT INTO executions ({columns}) "
            f"WITH RECURSIVE n(n) AS (SELECT {start} UNION ALL SELECT n + 1 FROM n "
            f"WHERE n < {last}) SELECT {', '.join(made[name] for name in names)} "
            f"FROM n, executions e WHERE e.id = '{execution_id}'"
        )
    if state.url:
        state.rows("VACUUM ANALYZE")


def _id(prefix: str, millis: str, other: str) -> str:
    """SQL of an id of this time, whose other bits are those of another one."""
    digits = [
        f"substr('{_DIGITS}', CAST(1 + (({millis} >> {5 * (_TIME_DIGITS - 1 - place)}) & 31) "
        "AS INTEGER), 1)"
        for place in range(_TIME_DIGITS)
    ]
    rest = len(prefix) + _TIME_DIGITS + 1
    return " || ".join((f"'{prefix}'", *digits, f"substr({other}, {rest})"))


def fill_steps(state: State, execution_id: str, steps: int) -> None:
    """Make the log of an execution one of so many steps, out of its third and fourth."""
    columns = ("segment", "kind", "data", "at")
    found = state.rows(
        f"SELECT {', '.join(columns)} FROM events WHERE execution_id = '{execution_id}' "
        "ORDER BY seq"
    )
    numbers = [_step_of(row[2]) for row in found]
    before = numbers.index(1)
    pair = [row for row, number in zip(found, numbers, strict=True) if number in (3, 4)]
    log = [*found[:before], *_repeated(pair, steps), found[-1]]
    state.rows(f"DELETE FROM events WHERE execution_id = '{execution_id}'")
    rows = [(execution_id, seq, *row) for seq, row in enumerate(log, 1)]
    with tables_of(state) as tables:
        tables.insert({"events": (["execution_id", "seq", *columns], rows)})
    state.rows(f"UPDATE executions SET steps = {steps} WHERE id = '{execution_id}'")


def _step_of(data: str) -> int:
    found = _STEP.search(data)
    return int(found[1]) if found else 0


def _repeated(pair: list[tuple[Any, ...]], steps: int) -> Iterator[tuple[Any, ...]]:
    apart = max(1, pair[-1][3] - pair[0][3])
    for number in range(0, steps, 2):
        for segment, kind, data, at in pair:
            step = _step_of(data) - 2 + number
            later = at + number // 2 * apart
            yield segment, kind, _STEP.sub(f'"step":{step}', data), later
