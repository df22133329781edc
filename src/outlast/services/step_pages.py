"""Where pages of an execution's steps stand in its log."""

from outlast.model.checkpoint import Checkpoint
from outlast.model.error import CheckpointNotFound
from outlast.model.workspace import Principal, Scope
from outlast.store.executions.places import LAST_STEP, NewestSteps, Place, StepSums, Stretch
from outlast.store.page import Page
from outlast.store.store import Store

__all__ = ["LAST_STEP", "NewestSteps", "Page", "Place", "StepPages", "StepSums", "Stretch"]


class StepPages:
    """Pages of steps, at a cost that does not grow with the steps before them."""

    def __init__(self, store: Store) -> None:
        self._store = store.executions
        self._checkpoints = store.checkpoints

    async def newest(self, principal: Principal, execution_id: str, most: int) -> NewestSteps:
        """Return where the newest steps begin, at least `most` of them if there are so many.

        Raises ExecutionNotFound, MissingScope.
        """
        principal.require(Scope.EXECUTIONS_READ)
        return await self._store.newest_steps(principal.workspace_id, execution_id, most)

    async def between(
        self, principal: Principal, execution_id: str, first: int, last: int
    ) -> Stretch:
        """Return where the steps of these numbers are. Raises MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._store.stretch(principal.workspace_id, execution_id, first, last)

    async def checkpoints(
        self, principal: Principal, execution_id: str, page: Page
    ) -> tuple[list[Checkpoint], bool]:
        """Return a page of checkpoints, newest first, and whether there are older ones.

        Raises MissingScope.
        """
        principal.require(Scope.EXECUTIONS_READ)
        found = await self._checkpoints.page(principal.workspace_id, execution_id, page)
        return page.cut(found)

    async def checkpoint(
        self, principal: Principal, execution_id: str, checkpoint_id: str
    ) -> Checkpoint:
        """Return a checkpoint. Raises CheckpointNotFound, MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        found = await self._checkpoints.find(principal.workspace_id, execution_id, checkpoint_id)
        if found is None:
            raise CheckpointNotFound
        return found

    async def checkpoint_behind(
        self, principal: Principal, execution_id: str, step: int
    ) -> Checkpoint:
        """Return the last checkpoint that stands behind a step.

        Raises CheckpointNotFound, MissingScope.
        """
        principal.require(Scope.EXECUTIONS_READ)
        found = await self._checkpoints.behind(principal.workspace_id, execution_id, step)
        if found is None:
            raise CheckpointNotFound
        return found

    async def count_before(self, principal: Principal, execution_id: str, number: int) -> int:
        """Return how many steps before this one are not superseded. Raises MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._store.steps_before(principal.workspace_id, execution_id, number)

    async def sums_behind(self, principal: Principal, execution_id: str, number: int) -> StepSums:
        """Return the sums of the recorded steps behind this one that stand. Raises MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._store.sums_behind(principal.workspace_id, execution_id, number)
