"""Statements in SQLite's dialect."""

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

from sqlalchemy.dialects import sqlite

from outlast.store.driver import Statement

InOrder: TypeAlias = Callable[[dict[str, Any]], Sequence[Any]]
Compiled: TypeAlias = tuple[str, dict[str, Any], InOrder, bool]
"""The text, its constant values, the order of its parameters, whether it returns rows."""
_NAME: Final = re.compile(r":(\w+)")


class Texts:
    """Statements compiled once; positional binding is cheaper than named."""

    def __init__(self) -> None:
        self._dialect = sqlite.dialect(paramstyle="named")
        self._texts: dict[Statement, Compiled] = {}

    def of(self, statement: Statement) -> Compiled:
        """Return the statement in SQLite's dialect."""
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
