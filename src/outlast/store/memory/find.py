"""Finds the items of a store that have all words of a query, the newest first."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, func, literal_column, select
from sqlalchemy.sql.expression import BindParameter, ColumnElement, Select

from outlast.store.driver import Part, Query, Row, Statement
from outlast.store.memory.rows import ITEM
from outlast.store.memory.tables import memory_items
from outlast.store.memory.words import HAS_WORDS, OF_NEWEST, matching

_STORE: Final[BindParameter[str]] = bindparam("store")
_NEWEST: Final = (memory_items.c.updated_at.desc(), memory_items.c.id.desc())


def _page(numbers: Select[Any]) -> Statement:
    """Return the statement that reads these items: the rows of a page alone, not of all found."""
    items = select(*ITEM).where(memory_items.c.number.in_(numbers))
    return Statement(items.order_by(*_NEWEST))


def _has_prefix(key: ColumnElement[str]) -> ColumnElement[bool]:
    prefix: BindParameter[str] = bindparam("from_key")
    return func.substr(key, literal_column("1"), func.length(prefix)) == prefix


_some: Final = (
    select(
        memory_items.c.number,
        memory_items.c.words,
        memory_items.c.key,
        memory_items.c.updated_at,
        memory_items.c.id,
    )
    .where(memory_items.c.store_id == _STORE)
    .order_by(*_NEWEST)
    .limit(literal_column("200"))
    .subquery("newest")
)

FIND_NEWEST_MEMORY_ITEMS: Final = _page(
    select(_some.c.number)
    .where(OF_NEWEST, _has_prefix(_some.c.key))
    .order_by(_some.c.updated_at.desc(), _some.c.id.desc())
    .limit(bindparam("limit"))
)
"""Looks among the newest 200 items alone, without the index of words."""

FIND_MEMORY_ITEMS: Final = _page(
    select(memory_items.c.number)
    .where(
        HAS_WORDS,
        func.substr(memory_items.c.store_id, literal_column("1")) == _STORE,
        _has_prefix(memory_items.c.key),
    )
    .order_by(*_NEWEST)
    .limit(bindparam("limit"))
)
"""The words belong to one store, so they alone choose the rows: no other index fits the rest."""


def find_items(store_id: str, words: Sequence[str], prefix: str, limit: int) -> Part[list[Row]]:
    """Return the rows of the newest items that have all these words.

    Words that many items have are found among the newest: all that have them are not sorted.
    """
    given = {"store": store_id, "from_key": prefix, "limit": limit} | matching(store_id, words)
    rows = yield Query(FIND_NEWEST_MEMORY_ITEMS, given)
    if len(rows) < limit:
        rows = yield Query(FIND_MEMORY_ITEMS, given)
    return rows
