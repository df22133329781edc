"""Statements in SQLite's dialect."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy.dialects import sqlite

from outlast.store.driver import Statement

InOrder: TypeAlias = Callable[[dict[str, Any]], Sequence[Any]]
_NAME: Final = re.compile(r":(\w+)")


class Compiled(NamedTuple):
    """A statement in SQLite's dialect."""

    text: str
    constants: dict[str, Any]
    in_order: InOrder
    """Puts its parameters in order."""
    answers: bool
    """Whether it returns rows."""
    then: "Compiled | None"
    """What follows if it does; it returns none."""


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
        following = None if then is None else self._compiled(then)
        return Compiled(_NAME.sub("?", text), constants, in_order, first.answers, following)


def _in_order(names: Sequence[str]) -> InOrder:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda parameters: [parameters[name] for name in names]
