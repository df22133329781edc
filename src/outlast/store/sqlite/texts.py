"""Statements in SQLite's dialect."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Final, TypeAlias

from sqlalchemy.dialects import sqlite

from outlast.store.driver import Statement

InOrder: TypeAlias = Callable[[dict[str, Any]], Sequence[Any]]
Compiled: TypeAlias = tuple[str, dict[str, Any], InOrder, bool, Statement | None]
"""The text, its constant values, the order of its parameters, whether it returns rows, and what
follows if it does."""
_NAME: Final = re.compile(r":(\w+)")


class Texts:
    """Statements compiled once; positional binding is cheaper than named."""

    def __init__(self) -> None:
        self._dialect = sqlite.dialect(paramstyle="named")
        self.of: Callable[[Statement], Compiled] = cache(self._compiled)
        """Returns a statement in SQLite's dialect."""

    def _compiled(self, statement: Statement) -> Compiled:
        first, then = statement.apart or (statement, None)
        text, constants = first.compiled(self._dialect)
        in_order = _in_order(_NAME.findall(text))
        return (_NAME.sub("?", text), constants, in_order, first.answers, then)


def _in_order(names: Sequence[str]) -> InOrder:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda parameters: [parameters[name] for name in names]
