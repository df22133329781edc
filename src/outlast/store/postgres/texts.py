"""Statements as Postgres reads them."""

import re
from typing import Any, Final

from sqlalchemy.dialects import postgresql

from outlast.store.driver import Statement

_NAME: Final = re.compile(r"%\((\w+)\)s")


class Texts:
    """Statements as Postgres reads them, compiled once; several inserts are one text."""

    def __init__(self) -> None:
        self._dialect = postgresql.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
        self._texts: dict[tuple[Statement, ...], tuple[str, dict[str, Any]]] = {}

    def of(self, statements: tuple[Statement, ...]) -> tuple[str, dict[str, Any]]:
        found = self._texts.get(statements)
        if found is None:
            found = self._texts[statements] = self._joined(statements)
        return found

    def _joined(self, statements: tuple[Statement, ...]) -> tuple[str, dict[str, Any]]:
        """`WITH i0 AS (INSERT …), i1 AS (INSERT …) INSERT …`, with a prefix for each one's names.

        https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING
        """
        texts: list[str] = []
        constants: dict[str, Any] = {}
        for number, statement in enumerate(statements):
            text, own = statement.compiled(self._dialect)
            prefix = prefix_of(number)
            texts.append(_NAME.sub(rf"%({prefix}\1)s", text) if prefix else text)
            constants |= {prefix + name: value for name, value in own.items()}
        *first, last = texts
        withs = ", ".join(f"i{number} AS ({text})" for number, text in enumerate(first))
        return (f"WITH {withs} {last}" if first else last), constants


def prefix_of(number: int) -> str:
    """What stands before the names of the parameters of an insert among many."""
    return f"i{number}_" if number else ""
