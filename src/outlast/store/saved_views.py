"""Saved views: a filter with a name, for all of a workspace."""

from typing import Final

from sqlalchemy import Column, Table, Text, bindparam, delete, func, select

from outlast.model.error import Conflict
from outlast.model.saved_view import SavedView
from outlast.store.driver import Driver, Query, Row, Statement, Transaction, TransactionResult
from outlast.store.tables import Upsert, identifier, metadata, time

MOST_VIEWS: Final = 100
"""Views of a workspace."""

views: Final = Table(
    "saved_views",
    metadata,
    identifier("workspace_id", primary_key=True),
    Column("name", Text, primary_key=True),
    Column("filter", Text, nullable=False),
    time("updated_at"),
    sqlite_with_rowid=False,
)
_own: Final = views.c.workspace_id == bindparam("workspace")
_named: Final = views.c.name == bindparam("wanted_name")

SAVED_VIEWS: Final = Statement(
    select(views.c.name, views.c.filter, views.c.updated_at).where(_own).order_by(views.c.name)
)
COUNT_OTHER_SAVED_VIEWS: Final = Statement(
    select(func.count()).select_from(views).where(_own, views.c.name != bindparam("wanted_name"))
)
PUT_SAVED_VIEW: Final = Statement(Upsert(views))
DELETE_SAVED_VIEW: Final = Statement(delete(views).where(_own, _named))


def _all(workspace_id: str) -> Transaction[list[SavedView]]:
    rows = yield Query(SAVED_VIEWS, {"workspace": workspace_id})
    return TransactionResult([_view(row) for row in rows])


def _view(row: Row) -> SavedView:
    name, filter_, updated_at = row
    return SavedView(name, filter_, updated_at)


def _put(workspace_id: str, view: SavedView) -> Transaction[None]:
    given = {"workspace": workspace_id, "wanted_name": view.name}
    rows = yield Query(COUNT_OTHER_SAVED_VIEWS, given)
    if rows[0][0] >= MOST_VIEWS:
        raise Conflict(f"A workspace keeps at most {MOST_VIEWS} views. Remove one first.")
    yield Query(
        PUT_SAVED_VIEW,
        {
            "workspace_id": workspace_id,
            "name": view.name,
            "filter": view.filter,
            "updated_at": view.updated_at,
        },
    )
    return TransactionResult(None)


def _remove(workspace_id: str, name: str) -> Transaction[None]:
    yield Query(DELETE_SAVED_VIEW, {"workspace": workspace_id, "wanted_name": name})
    return TransactionResult(None)


class SavedViewStore:
    """The saved views."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def all(self, workspace_id: str) -> list[SavedView]:
        """Return a workspace's views by name."""
        return await self._driver.read(lambda: _all(workspace_id))

    async def put(self, workspace_id: str, view: SavedView) -> None:
        """Save a view, replacing the one of its name. Raises Conflict if there are too many."""
        await self._driver.write(lambda: _put(workspace_id, view))

    async def remove(self, workspace_id: str, name: str) -> None:
        """Remove a view, if there is one of this name."""
        await self._driver.write(lambda: _remove(workspace_id, name))
