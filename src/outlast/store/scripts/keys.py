"""Transactions on workspaces and API keys."""

from outlast.model.error import NotFound
from outlast.model.workspace import ApiKey, Workspace
from outlast.store.driver import Query, Transaction, TransactionResult
from outlast.store.scripts.rows import key_from, to_json, workspace_from
from outlast.store.statements import keys as sql


def put_workspace(workspace: Workspace) -> Transaction[Workspace]:
    """Insert, or find the one of that name."""
    rows = yield Query(sql.WORKSPACE_NAMED, {"name": workspace.name})
    if rows:
        return TransactionResult(workspace_from(rows[0]))
    yield Query(
        sql.INSERT_WORKSPACE,
        {
            "id": workspace.id,
            "name": workspace.name,
            "plan": workspace.plan.value,
            "created_at": workspace.created_at,
        },
    )
    return TransactionResult(workspace)


def workspaces() -> Transaction[list[Workspace]]:
    """All, oldest first."""
    rows = yield Query(sql.WORKSPACES, {})
    return TransactionResult([workspace_from(row) for row in rows])


def workspace_named(name: str) -> Transaction[Workspace]:
    """One by its name."""
    rows = yield Query(sql.WORKSPACE_NAMED, {"name": name})
    if not rows:
        raise NotFound(f"There is no workspace {name!r}. Make it: outlast workspaces create {name}")
    return TransactionResult(workspace_from(rows[0]))


def put_key(key: ApiKey, secret_hash: str) -> Transaction[None]:
    """Insert a key; one with the same secret is replaced."""
    yield Query(sql.DELETE_KEY_BY_HASH, {"hash": secret_hash})
    yield Query(
        sql.INSERT_KEY,
        {
            "id": key.id,
            "workspace_id": key.workspace_id,
            "name": key.name,
            "hash": secret_hash,
            "scopes": to_json(sorted(key.scopes)),
            "agent_id": key.agent_id,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
        },
    )
    return TransactionResult(None)


def key_by_hash(secret_hash: str) -> Transaction[ApiKey | None]:
    """The only read that knows no workspace: it finds out which."""
    rows = yield Query(sql.KEY_BY_HASH, {"hash": secret_hash})
    return TransactionResult(key_from(rows[0]) if rows else None)


def key(workspace_id: str, key_id: str) -> Transaction[ApiKey | None]:
    """One of a workspace."""
    rows = yield Query(sql.KEY, {"workspace": workspace_id, "id": key_id})
    return TransactionResult(key_from(rows[0]) if rows else None)


def revoked_keys(since: int) -> Transaction[set[str]]:
    """Ids of those that were revoked lately."""
    rows = yield Query(sql.REVOKED_KEYS, {"since": since})
    return TransactionResult({row[0] for row in rows})


def keys(workspace_id: str) -> Transaction[list[ApiKey]]:
    """All of a workspace, oldest first."""
    rows = yield Query(sql.KEYS, {"workspace": workspace_id})
    return TransactionResult([key_from(row) for row in rows])


def revoke_key(workspace_id: str, key_id: str, at: int) -> Transaction[None]:
    """Mark as revoked; a second time changes nothing."""
    rows = yield Query(sql.REVOKE_KEY, {"workspace": workspace_id, "id": key_id, "at": at})
    if not rows:
        raise NotFound(f"There is no key {key_id}.")
    return TransactionResult(None)


def try_write() -> Transaction[None]:
    """Write a row and delete it again, to see whether the disk takes it."""
    row = {"key_id": "", "key": "", "digest": "", "execution_id": "", "answer": None}
    yield Query(sql.INSERT_IDEMPOTENT, row | {"created_at": 0})
    yield Query(sql.FORGET_IDEMPOTENT, {"since": 0, "limit": 1})
    return TransactionResult(None)
