"""The store's port, workspaces and keys."""

from typing import Protocol

from outlast.model.workspace import ApiKey, Workspace


class KeyStore(Protocol):
    """Workspaces and keys."""

    async def put_workspace(self, workspace: Workspace) -> Workspace:
        """Make a workspace; the name of one that exists answers that one."""
        ...

    async def workspaces(self) -> list[Workspace]:
        """All of them, oldest first."""
        ...

    async def workspace_named(self, name: str) -> Workspace:
        """Raises NotFound."""
        ...

    async def put_key(self, key: ApiKey, secret_hash: str) -> None:
        """Make a key, or change one that has this hash."""
        ...

    async def key_by_hash(self, secret_hash: str) -> ApiKey | None:
        """The key of this secret, revoked and expired ones too."""
        ...

    async def key(self, workspace_id: str, key_id: str) -> ApiKey | None:
        """The key of this id, revoked and expired ones too."""
        ...

    async def revoked_keys(self, since: int) -> set[str]:
        """Ids of the keys, of all workspaces, that were revoked at this moment or later."""
        ...

    async def keys(self, workspace_id: str) -> list[ApiKey]:
        """All keys of a workspace, oldest first."""
        ...

    async def revoke_key(self, workspace_id: str, key_id: str, at: int) -> None:
        """Raises NotFound."""
        ...
