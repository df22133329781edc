"""Images that the tools of executions have brought."""

from outlast.model.image import ImageNotFound, WholeImage
from outlast.model.workspace import Principal, Scope
from outlast.store.blobs import ImageStore

__all__ = ["ImageNotFound", "Images", "WholeImage"]


class Images:
    """The images of a workspace's executions."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    async def get(self, principal: Principal, execution_id: str, image_id: str) -> WholeImage:
        """Return an image of an execution; those of its children are theirs alone.

        Raises ImageNotFound, MissingScope.
        """
        principal.require(Scope.EXECUTIONS_READ)
        return await self._store.get(principal.workspace_id, execution_id, image_id)
