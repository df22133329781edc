"""Workspaces, to which all else belongs."""

from typing import Final

from outlast.model.clock import Clock
from outlast.model.ids import WORKSPACE
from outlast.model.workspace import Plan, Workspace
from outlast.store.workspaces import WorkspaceStore

DEFAULT_WORKSPACE: Final = "default"


class Workspaces:
    """Creates and finds workspaces."""

    def __init__(self, store: WorkspaceStore, clock: Clock, default_plan: Plan) -> None:
        """`default_plan`: that of a new workspace that names none."""
        self._store = store
        self._clock = clock
        self._default_plan = default_plan

    async def put(self, name: str, plan: Plan | None = None) -> Workspace:
        """Return the workspace of that name, created if there is none."""
        new, plan = self._clock.new_id(WORKSPACE), plan or self._default_plan
        return await self._store.put(Workspace(new, name, self._clock.now(), plan))

    async def all(self) -> list[Workspace]:
        """Return all workspaces, oldest first."""
        return await self._store.all()

    async def named(self, name: str) -> Workspace:
        """Return the workspace of that name. Raises NotFound."""
        return await self._store.named(name)
