"""Saved views of the list of executions."""

from outlast.model.clock import Clock
from outlast.model.error import InvalidField
from outlast.model.list_words import NotAFilter, filter_of
from outlast.model.saved_view import LONGEST_FILTER, LONGEST_NAME, SavedView, is_path
from outlast.model.workspace import Principal, Scope
from outlast.store.saved_views import SavedViewStore


class SavedViews:
    """The saved views of a workspace."""

    def __init__(self, store: SavedViewStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def all(self, principal: Principal) -> list[SavedView]:
        """Return all of them by name. Raises MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._store.all(principal.workspace_id)

    async def put(self, principal: Principal, name: str, filter_: str) -> SavedView:
        """Save a view, replacing the one of its name.

        Raises Conflict (there are too many), InvalidField, MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        if not 0 < len(name) <= LONGEST_NAME:
            raise InvalidField(f"A name has 1 to {LONGEST_NAME} characters.", param="name")
        if not is_path(name):
            raise InvalidField(
                "A name has printable characters; no part of it between slashes is empty, . or ..",
                param="name",
            )
        if not 0 < len(filter_) <= LONGEST_FILTER:
            raise InvalidField(f"A filter has 1 to {LONGEST_FILTER} characters.", param="filter")
        now = self._clock.now()
        try:
            filter_of(filter_, now)
        except NotAFilter as error:
            raise InvalidField(f"The filter cannot be read: {error}", param="filter") from error
        view = SavedView(name, filter_, now)
        await self._store.put(principal.workspace_id, view)
        return view

    async def remove(self, principal: Principal, name: str) -> None:
        """Remove a view, if there is one of this name. Raises MissingScope."""
        principal.require(Scope.AGENTS_EXECUTE)
        await self._store.remove(principal.workspace_id, name)
