"""Statements in Postgres's dialect: compiled once, with positional parameters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text as sqlalchemy_text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import UnsupportedCompilationError
from sqlalchemy.sql.expression import Insert

from outlast.store.driver import Batch, BatchStatement, Query, Statement

_PARAMETER: Final = re.compile(r"%\((\w+)\)s|%%")
_ROW: Final = re.compile(
    r"INSERT INTO \S+ \([^)]+\) VALUES (\([^()]*(?:\([^()]*\)s[^()]*)*\))(.*)", re.DOTALL
)
_ROWS: Final = 4
"""Rows of one table from which on they are sent as arrays, a column each."""
_VOLATILE: Final = (
    "WITH batch AS ({text}) "
    "SELECT batch.*, set_config('synchronous_commit', 'off', true) FROM batch"
)
"""A statement that is its own transaction and does not wait for the disk; it adds a column."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A text, and the parameters by position for each of its statements."""

    text: str
    names: tuple[tuple[str, ...], ...]
    constants: tuple[dict[str, Any], ...]

    def parameters(self, given: Sequence[dict[str, Any]]) -> list[Any]:
        values: list[Any] = []
        for names, constants, own in zip(self.names, self.constants, given, strict=True):
            known = constants | own if constants else own
            values += [known[name] for name in names]
        return values


class Texts:
    """Statements in Postgres's dialect; several that can be joined become one text."""

    def __init__(self) -> None:
        self._dialect = postgresql.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
        self._texts: dict[tuple[Statement, ...], _Text] = {}
        self._batches: dict[tuple[BatchStatement, bool], _Text] = {}
        self._arrays: dict[Statement, Statement | None] = {}

    def of(self, queries: Sequence[Query]) -> tuple[str, list[Any]]:
        """Return one text for all of these queries, and its parameters."""
        if len(queries) >= _ROWS:
            queries = self._in_arrays(queries)
        statements = tuple([query.statement for query in queries])
        found = self._texts.get(statements)
        if found is None:
            found = self._texts[statements] = self._joined(statements)
        return found.text, found.parameters([query.parameters for query in queries])

    def _in_arrays(self, queries: Sequence[Query]) -> list[Query]:
        """Return fewer queries: inserts of many rows into one table become one of arrays."""
        rows: dict[Statement, list[dict[str, Any]]] = {}
        for query in queries:
            rows.setdefault(query.statement, []).append(query.parameters)
        found: list[Query] = []
        for statement, given in rows.items():
            arrays = self._arrays_of(statement) if len(given) >= _ROWS else None
            if arrays is None:
                found += [Query(statement, one) for one in given]
            else:
                names = self._names_of(arrays)
                columns = {name: array([one[name] for one in given]) for name in names}
                found.append(Query(arrays, columns))
        return found

    def _names_of(self, statement: Statement) -> tuple[str, ...]:
        """Return the names of a statement's parameters."""
        known = (statement,)
        if known not in self._texts:
            self._texts[known] = self._joined(known)
        return self._texts[known].names[0]

    def _arrays_of(self, statement: Statement) -> Statement | None:
        """Return an insert of one row as one of arrays; None if it is none of parameters alone."""
        if statement not in self._arrays:
            self._arrays[statement] = _arrays_of(statement, self._dialect)
        return self._arrays[statement]

    def of_batch(self, batch: Batch, *, durable: bool) -> tuple[str, list[Any]]:
        """Return one text for all sets of parameters; not `durable`: does not wait for the disk."""
        key = (batch.statement, durable)
        found = self._batches.get(key)
        if found is None:
            whole = self._joined((Statement(batch.statement.arrays),))
            text = whole.text if durable else _VOLATILE.format(text=whole.text)
            found = self._batches[key] = _Text(text, whole.names, whole.constants)
        (names,), (constants,) = found.names, found.constants
        arrays = {
            name: array([given[name] for given in batch.parameters])
            for name in names
            if name not in constants
        }
        return found.text, found.parameters([arrays])

    def _joined(self, statements: tuple[Statement, ...]) -> _Text:
        """Return `WITH i0 AS (INSERT …), i1 AS (INSERT …) INSERT …`.

        https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING
        """
        texts: list[str] = []
        names: list[tuple[str, ...]] = []
        constants: list[dict[str, Any]] = []
        before = 0
        for statement in statements:
            text, own = statement.compiled(self._dialect)
            places: dict[str, int] = {}

            def place(
                found: re.Match[str], places: dict[str, int] = places, before: int = before
            ) -> str:
                if found[1] is None:
                    return "%"
                return f"${before + places.setdefault(found[1], len(places) + 1)}"

            texts.append(_PARAMETER.sub(place, text))
            names.append(tuple(places))
            constants.append(own)
            before += len(places)
        *first, last = texts
        withs = ", ".join(f"i{number} AS ({text})" for number, text in enumerate(first))
        return _Text(f"WITH {withs} {last}" if first else last, tuple(names), tuple(constants))


def array(values: Sequence[str | int | None]) -> str:
    """Return values as the text of a Postgres array: psycopg's own takes many times as long.

    https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    """
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: str | int | None) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "NULL" if value is None else str(value)


def _arrays_of(statement: Statement, dialect: Dialect) -> Statement | None:
    """Return `INSERT INTO … SELECT * FROM unnest(…)`, whose parameters are arrays."""
    text, constants = statement.compiled(dialect)
    row = _ROW.fullmatch(text)
    if row is None or constants or not isinstance(statement.clause, Insert):
        return None
    names = [found[1] for found in _PARAMETER.finditer(row[1])]
    columns = statement.clause.table.c
    try:
        types = [str(columns[name].type.compile(dialect)).split(" COLLATE ")[0] for name in names]
    except (KeyError, UnsupportedCompilationError):
        return None
    arrays = ", ".join(
        f"CAST(:{name} AS {kind}[])" for name, kind in zip(names, types, strict=True)
    )
    head = text[: row.start(1)].removesuffix("VALUES ")
    return Statement(sqlalchemy_text(f"{head}SELECT * FROM unnest({arrays}){row[2]}"))  # noqa: S608 - ours
