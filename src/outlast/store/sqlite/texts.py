"""Statements as SQLite reads them."""

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

from sqlalchemy.dialects import sqlite

from outlast.store.driver import Statement

InOrder: TypeAlias = Callable[[dict[str, Any]], Sequence[Any]]
Compiled: TypeAlias = tuple[str, dict[str, Any], InOrder, bool]
"""The text, the values that are part of it, what puts parameters in order, whether it answers."""
_NAME: Final = re.compile(r":(\w+)")


class Texts:
    """Statements compiled once; binding by place is cheaper than by name."""

    def __init__(self) -> None:
        self._dialect = sqlite.dialect(paramstyle="named")
        self._texts: dict[Statement, Compiled] = {}

    def of(self, statement: Statement) -> Compiled:
        """Return the statement as SQLite reads it."""
        found = self._texts.get(statement)
        if found is None:
            text, constants = statement.compiled(self._dialect)
            in_order = _in_order(_NAME.findall(text))
            text = _NAME.sub("?", text)
            found = self._texts[statement] = (text, constants, in_order, statement.answers)
        return found


def _in_order(names: Sequence[str]) -> InOrder:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda parameters: [parameters[name] for name in names]
