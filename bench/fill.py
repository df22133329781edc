"""Fill a database with copies of one execution: its conversation, steps and events, and its tree.

The server must not run on it. The execution is copied as it stands in the tables, with new ids and
earlier times, one second apart, so the original stays the newest. Nothing here names a column that
holds content, so a new one is copied like the rest.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from bench.state import SQLITE, State
from bench.tables import Tables, Values, postgres_tables, sqlite_tables

APART_MS = 1000
BATCH = 2000
_ID = re.compile(r"\b(exec|conv|step|tc|cp|msg|evt)_([0-9a-hjkmnp-tv-z]{26})\b")
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"

Column = Callable[[int, dict[str, str]], Any]


def copy_execution(state: State, execution_id: str, copies: int) -> list[str]:
    """Copy it so often; the copies' execution ids, oldest first. Raises LookupError."""
    with tables_of(state) as tables:
        return _write(tables, _read(tables, execution_id), execution_id, copies)


def tables_of(state: State) -> AbstractContextManager[Tables]:
    """The tables of a state that no server has."""
    return sqlite_tables(state.file) if state.kind == SQLITE else postgres_tables(state.url)


class _Template:
    """The rows of one table to copy, and how each value is made for a copy."""

    def __init__(self, names: list[str], rows: list[Values]) -> None:
        self.names = names
        self.ids = {
            found[0]
            for row in rows
            for value in row
            if isinstance(value, str)
            for found in _ids(value)
        }
        self._rows = [
            [_column(name, value) for name, value in zip(names, row, strict=True)] for row in rows
        ]

    def made(self, earlier: int, ids: dict[str, str]) -> Iterator[Values]:
        for row in self._rows:
            yield tuple(column(earlier, ids) for column in row)


def _ids(text: str) -> Iterator[tuple[str, str]]:
    for found in _ID.finditer(text):
        yield found[0], found[1]


def _column(name: str, value: Any) -> Column:
    if isinstance(value, int) and (name == "at" or name.endswith("_at")):
        return lambda earlier, _: value - earlier
    if isinstance(value, str) and _ID.fullmatch(value):
        return lambda _, ids: ids[value]
    if isinstance(value, str) and _ID.search(value):
        return lambda _, ids: _ID.sub(lambda found: ids[found[0]], value)
    return lambda *_: value


def _read(tables: Tables, execution_id: str) -> dict[str, _Template]:
    names, found = tables.select("executions", "id", execution_id)
    if not found:
        raise LookupError(execution_id)
    conversation = dict(zip(names, found[0], strict=True))["conversation_id"]
    found = [*found, *tables.select("executions", "root_id", execution_id)[1]]
    ids = [dict(zip(names, row, strict=True))["id"] for row in found]
    templates = {
        "executions": _Template(names, found),
        "conversations": _Template(*tables.select("conversations", "id", conversation)),
    }
    for table in tables.owned():
        each = [tables.select(table, "execution_id", one) for one in ids]
        templates[table] = _Template(each[0][0], [row for _, rows in each for row in rows])
    return templates


def _write(
    tables: Tables, templates: dict[str, _Template], execution_id: str, copies: int
) -> list[str]:
    # The agent's and the workspace's ids are not among the prefixes: they are kept.
    spellings = sorted(set().union(*(template.ids for template in templates.values())))
    newest = _milliseconds(execution_id)
    made: list[str] = []
    for start in range(0, copies, BATCH):
        batch: list[tuple[int, dict[str, str]]] = []
        for index in range(start, min(start + BATCH, copies)):
            earlier = (copies - index) * APART_MS
            ids = {
                old: f"{old.partition('_')[0]}_{suffix(newest - earlier, place)}"
                for place, old in enumerate(spellings)
            }
            batch.append((earlier, ids))
            made.append(ids[execution_id])
        tables.insert(
            {
                table: (template.names, _copies(template, batch))
                for table, template in templates.items()
                if template.ids
            }
        )
    return made


def _copies(template: _Template, batch: list[tuple[int, dict[str, str]]]) -> Iterator[Values]:
    for earlier, ids in batch:
        yield from template.made(earlier, ids)


def suffix(milliseconds: int, place: int) -> str:
    """A TypeID's suffix: the base32 of a UUIDv7 of that time; places differ within it."""
    number = (milliseconds << 80) | (7 << 76) | (2 << 62) | place
    return "".join(_DIGITS[(number >> shift) & 31] for shift in range(125, -1, -5))


def _milliseconds(typeid: str) -> int:
    number = 0
    for character in typeid.partition("_")[2]:
        number = number * 32 + _DIGITS.index(character)
    return number >> 80
