"""Fill a database with copies of one execution, its conversation, steps, events and all.

The server must not run on it. The execution is copied as it stands in the tables, with new ids and
earlier times, one second apart, so the original stays the newest. Nothing here names a column that
holds content, so a new one is copied like the rest.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

APART_MS = 1000
BATCH = 2000
_ID = re.compile(r"\b(exec|conv|step|tc|cp|msg|evt)_([0-9a-hjkmnp-tv-z]{26})\b")
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"

Value = Any
Column = Callable[[int, dict[str, str]], Value]


def copy_execution(path: Path, execution_id: str, copies: int) -> list[str]:
    """Copy it so often; the copies' execution ids, oldest first. Raises LookupError."""
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous=OFF")
        template = _read(database, execution_id)
        return _write(database, template, execution_id, copies)
    finally:
        database.close()


class _Row:
    """One row to copy: its statement, and how each value is made for a copy."""

    def __init__(self, table: str, names: list[str], values: tuple[Value, ...]) -> None:
        holes = ",".join("?" * len(names))
        self.insert = f"INSERT INTO {table} ({','.join(names)}) VALUES ({holes})"
        self.ids = {found[0] for value in values if isinstance(value, str) for found in _ids(value)}
        self._columns = [_column(name, value) for name, value in zip(names, values, strict=True)]

    def made(self, earlier: int, ids: dict[str, str]) -> tuple[Value, ...]:
        return tuple(column(earlier, ids) for column in self._columns)


def _ids(text: str) -> Iterator[tuple[str, str]]:
    for found in _ID.finditer(text):
        yield found[0], found[1]


def _column(name: str, value: Value) -> Column:
    if isinstance(value, int) and (name == "at" or name.endswith("_at")):
        return lambda earlier, _: value - earlier
    if isinstance(value, str) and _ID.fullmatch(value):
        return lambda _, ids: ids[value]
    if isinstance(value, str) and _ID.search(value):
        return lambda _, ids: _ID.sub(lambda found: ids[found[0]], value)
    return lambda *_: value


def _read(database: sqlite3.Connection, execution_id: str) -> list[_Row]:
    rows = list(_select(database, "executions", "id", execution_id))
    if not rows:
        raise LookupError(execution_id)
    names = [
        name for name, *_ in database.execute("SELECT name FROM pragma_table_info('executions')")
    ]
    found = database.execute("SELECT * FROM executions WHERE id = ?", (execution_id,)).fetchone()
    conversation = dict(zip(names, found, strict=True))["conversation_id"]
    rows += _select(database, "conversations", "id", conversation)
    owned = database.execute(
        "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c"
        " WHERE m.type = 'table' AND c.name = 'execution_id' ORDER BY m.name"
    ).fetchall()
    for (table,) in owned:
        rows += _select(database, table, "execution_id", execution_id)
    return rows


def _select(database: sqlite3.Connection, table: str, column: str, value: str) -> Iterator[_Row]:
    cursor = database.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,))
    names = [description[0] for description in cursor.description]
    for values in cursor.fetchall():
        yield _Row(table, names, values)


def _write(
    database: sqlite3.Connection, template: list[_Row], execution_id: str, copies: int
) -> list[str]:
    # The agent's and the workspace's ids are not among the prefixes: they are kept.
    spellings = sorted(set().union(*(row.ids for row in template)))
    newest = _milliseconds(execution_id)
    made: list[str] = []
    for start in range(0, copies, BATCH):
        database.execute("BEGIN")
        for index in range(start, min(start + BATCH, copies)):
            earlier = (copies - index) * APART_MS
            ids = {
                old: f"{old.partition('_')[0]}_{suffix(newest - earlier, place)}"
                for place, old in enumerate(spellings)
            }
            for row in template:
                database.execute(row.insert, row.made(earlier, ids))
            made.append(ids[execution_id])
        database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return made


def suffix(milliseconds: int, place: int) -> str:
    """A TypeID's suffix: the base32 of a UUIDv7 of that time; places differ within it."""
    number = (milliseconds << 80) | (7 << 76) | (2 << 62) | place
    return "".join(_DIGITS[(number >> shift) & 31] for shift in range(125, -1, -5))


def _milliseconds(typeid: str) -> int:
    number = 0
    for character in typeid.partition("_")[2]:
        number = number * 32 + _DIGITS.index(character)
    return number >> 80
