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


class _Texts(dict[Statement, Compiled]):
    """Statements compiled so far; a lookup compiles one that is not among them."""

    def __init__(self, compiled: Callable[[Statement], Compiled]) -> None:
        self._compile = compiled

    def __missing__(self, statement: Statement) -> Compiled:
        found = self[statement] = self._compile(statement)
        return found


class Texts:
    """Statements compiled once; positional binding is cheaper than named."""

    def __init__(self) -> None:
        self._dialect = sqlite.dialect(paramstyle="named")
        self._texts = _Texts(self._compiled)
        self.of: Callable[[Statement], Compiled] = self._texts.__getitem__
        """Returns a statement in SQLite's dialect."""

    def _compiled(self, statement: Statement) -> Compiled:
        text, constants = statement.compiled(self._dialect)
        in_order = _in_order(_NAME.findall(text))
        return (_NAME.sub("?", text), constants, in_order, statement.answers)


def _in_order(names: Sequence[str]) -> InOrder:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda parameters: [parameters[name] for name in names]
