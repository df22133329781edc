"""Fill a database with rows of executions alone, by SQL, and one execution with steps.

The server must not run on it. Rows are copies of one, a second apart, so that the original stays
the newest; what belongs to an execution elsewhere is not copied, so only lists can show them.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from bench.fill import suffix, tables_of
from bench.state import POSTGRESQL, SQLITE, State
from bench.tables import Values

BATCH = 200_000
APART_MS = 1000
CANCELLED = 5_000
"""One in so many."""
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_UNSAFE = {SQLITE: ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF"), POSTGRESQL: ()}
"""No power cut is to be survived; the server that opens the file has its own settings."""
_TIMES = ("created_at", "started_at", "updated_at", "completed_at")
_TIME_DIGITS = 10
"""Of an id: 48 bits of time behind two that are 0, five bits in each."""
_STEP = re.compile(r'"step":(\d+)')
_TIME = re.compile("at|.+_at")


def fill_rows(state: State, execution_id: str, count: int) -> None:
    """Copy the row of an execution that has ended so often, the oldest first, as time goes."""
    with tables_of(state) as tables:
        names, _ = tables.select("executions", "id", execution_id)
    made = {name: f"e.{name}" for name in names}
    made |= {name: f"e.{name} - n.n * {APART_MS}" for name in _TIMES}
    earlier = f"(e.created_at - n.n * {APART_MS})"
    for name, prefix in (("id", "exec_"), ("conversation_id", "conv_")):
        made[name] = _id(prefix, earlier, f"e.{name}")
    made["status"] = f"CASE WHEN n.n % {CANCELLED} = 0 THEN 'cancelled' ELSE e.status END"
    columns = ", ".join(f'"{name}"' for name in names)
    for first in range(count, 0, -BATCH):
        last = max(first - BATCH, 0) + 1
        insert = (
            f"INSERT INTO executions ({columns}) "
            f"WITH RECURSIVE n(n) AS (SELECT {first} UNION ALL SELECT n - 1 FROM n "
            f"WHERE n > {last}) SELECT {', '.join(made[name] for name in names)} "
            f"FROM n, executions e WHERE e.id = '{execution_id}'"
        )
        state.many([*_UNSAFE[state.kind], insert])
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
    """Make an execution one of so many steps, out of its third and fourth."""
    with tables_of(state) as tables:
        columns, found = tables.select("events", "execution_id", execution_id)
        seq, data, at = (columns.index(name) for name in ("seq", "data", "at"))
        found.sort(key=lambda row: row[seq])
        numbers = [_step_of(row[data]) for row in found]
        pair = [row for row, number in zip(found, numbers, strict=True) if number in (3, 4)]
        apart = max(1, pair[-1][at] - pair[0][at])
        log = [*found[: numbers.index(1)], *_repeated_events(pair, steps, data, at), found[-1]]
        rows: dict[str, tuple[list[str], Iterable[Values]]] = {
            "events": (columns, [_with(row, {seq: n}) for n, row in enumerate(log, 1)])
        }
        for table, number in (("steps", "number"), ("checkpoints", "step")):
            names, recorded = tables.select(table, "execution_id", execution_id)
            places = names.index(number), names.index("id")
            pair = sorted(
                (r for r in recorded if r[places[0]] in (3, 4)), key=lambda r: r[places[0]]
            )
            times = [place for place, name in enumerate(names) if _TIME.fullmatch(name)]
            rows[table] = (names, _repeated_rows(pair, steps, places, times, apart))
    for table in rows:
        state.rows(f"DELETE FROM {table} WHERE execution_id = '{execution_id}'")
    with tables_of(state) as tables:
        tables.insert(rows)
    state.rows(f"UPDATE executions SET steps = {steps} WHERE id = '{execution_id}'")


def _step_of(data: str) -> int:
    found = _STEP.search(data)
    return int(found[1]) if found else 0


def _with(row: Values, changes: dict[int, Any]) -> Values:
    return tuple(changes.get(place, value) for place, value in enumerate(row))


def _repeated_events(pair: list[Values], steps: int, data: int, at: int) -> Iterator[Values]:
    apart = max(1, pair[-1][at] - pair[0][at])
    for number in range(0, steps, 2):
        for row in pair:
            step = _step_of(row[data]) - 2 + number
            said = _STEP.sub(f'"step":{step}', row[data])
            yield _with(row, {data: said, at: row[at] + number // 2 * apart})


def _repeated_rows(
    pair: list[Values], steps: int, places: tuple[int, int], times: list[int], apart: int
) -> Iterator[Values]:
    """Rows of a table that has one for each step, with its number and an id."""
    number, id_ = places
    for first in range(0, steps, 2):
        for place, row in enumerate(pair):
            later = {time: row[time] + first // 2 * apart for time in times}
            made = f"{row[id_].partition('_')[0]}_{suffix(row[times[0]], first + place)}"
            yield _with(row, {number: first + place + 1, id_: made} | later)
