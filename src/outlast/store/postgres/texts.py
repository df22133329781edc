"""Statements in Postgres's dialect: compiled once, with positional parameters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.dialects import postgresql

from outlast.store.driver import Batch, BatchStatement, Query, Statement

_PARAMETER: Final = re.compile(r"%\((\w+)\)s|%%")
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

    def of(self, queries: Sequence[Query]) -> tuple[str, list[Any]]:
        """Return one text for all of these queries, and its parameters."""
        statements = tuple([query.statement for query in queries])
        found = self._texts.get(statements)
        if found is None:
            found = self._texts[statements] = self._joined(statements)
        return found.text, found.parameters([query.parameters for query in queries])

    def of_batch(self, batch: Batch, *, durable: bool) -> tuple[str, list[Any]]:
        """Return one text for all sets of parameters; not `durable`: does not wait for the disk."""
        key = (batch.statement, durable)
        found = self._batches.get(key)
        if found is None:
            whole = self._joined((Statement(batch.statement.arrays),))
            text = whole.text if durable else _VOLATILE.format(text=whole.text)
            found = self._batches[key] = _Text(text, whole.names, whole.constants)
        (names,) = found.names
        arrays = {name: [given[name] for given in batch.parameters] for name in names}
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
