"""API keys of workspaces."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson
from sqlalchemy import (
    Column,
    Index,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

from outlast.model.error import KeyNotFound
from outlast.model.workspace import ApiKey, Scope
from outlast.store.budgets.tables import budgets
from outlast.store.driver import (
    Driver,
    Part,
    Query,
    Row,
    Statement,
    Together,
    Transaction,
    TransactionResult,
)
from outlast.store.idempotency import Idempotency, first_request, remember
from outlast.store.page import Page
from outlast.store.tables import identifier, json, metadata, time, to_json

keys: Final = Table(
    "keys",
    metadata,
    identifier("id", primary_key=True),
    identifier("workspace_id"),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),
    json("scopes"),
    identifier("agent_id", nullable=True),
    time("created_at"),
    time("expires_at", nullable=True),
    time("revoked_at", nullable=True),
    # Since 0024:
    time("last_used_at", nullable=True),
    UniqueConstraint("hash"),
    Index(None, "workspace_id", "id"),
    Index(None, "revoked_at"),
)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key as it was created, and its sealed secret."""

    key: ApiKey
    sealed: str
    replayed: bool


INSERT_KEY: Final = Statement(insert(keys))

DELETE_KEY_BY_HASH: Final = Statement(delete(keys).where(keys.c.hash == bindparam("hash")))

_budgeted: Final = (
    select(budgets.c.owner)
    .where(budgets.c.workspace_id == keys.c.workspace_id, text("NOT is_tree"))
    .correlate(keys)
    .exists()
)
"""Whether the key's workspace has budgets besides those of requests."""

KEY_BY_HASH: Final = Statement(select(*keys.c, _budgeted).where(keys.c.hash == bindparam("hash")))

KEY: Final = Statement(
    select(*keys.c, _budgeted).where(
        keys.c.id == bindparam("id"), keys.c.workspace_id == bindparam("workspace")
    )
)

REVOKED_KEYS: Final = Statement(select(keys.c.id).where(keys.c.revoked_at >= bindparam("since")))
"""Of all workspaces: a server ends the streams of revoked keys."""

KEYS: Final = Statement(
    select(*keys.c).where(keys.c.workspace_id == bindparam("workspace")).order_by(keys.c.id)
)

_page: Final = select(*keys.c).where(keys.c.workspace_id == bindparam("workspace"))
_newest_first: Final = keys.c.id.desc()

KEYS_PAGE: Final = Statement(_page.order_by(_newest_first).limit(bindparam("limit")))

KEYS_AFTER: Final = Statement(
    _page.where(keys.c.id < bindparam("after")).order_by(_newest_first).limit(bindparam("limit"))
)

KEYS_BEFORE: Final = Statement(
    _page.where(keys.c.id > bindparam("before")).order_by(keys.c.id).limit(bindparam("limit"))
)

REVOKE_KEY: Final = Statement(
    update(keys)
    .where(keys.c.id == bindparam("id"), keys.c.workspace_id == bindparam("workspace"))
    .values(revoked_at=func.coalesce(keys.c.revoked_at, bindparam("at")))
    .returning(keys.c.id)
)


NOTE_KEY_USE: Final = Statement(
    update(keys)
    .where(
        keys.c.id == bindparam("key"),
        func.coalesce(keys.c.last_used_at, literal_column("0")) < bindparam("at"),
    )
    .values(last_used_at=bindparam("at"))
)
"""Of any workspace; another process may have noted a later use."""


_SCOPES: Final = frozenset(scope.value for scope in Scope)


def _key_from(row: Row) -> ApiKey:
    """Return the key of all columns of `keys` but the hash; unknown scopes are ignored.

    Behind them may be whether its workspace has budgets.
    """
    key_id, workspace_id, name, _, scopes, agent_id, created_at, expires_at, revoked_at, *more = row
    last_used_at, *budgeted = more
    return ApiKey(
        key_id,
        workspace_id,
        name,
        frozenset(Scope(scope) for scope in orjson.loads(scopes) if scope in _SCOPES),
        created_at,
        agent_id,
        expires_at,
        revoked_at,
        bool(budgeted and budgeted[0]),
        last_used_at,
    )


def _put(key: ApiKey, secret_hash: str) -> Transaction[None]:
    """Insert a key; one with the same secret is replaced."""
    yield Query(DELETE_KEY_BY_HASH, {"hash": secret_hash})
    yield _insert(key, secret_hash)
    return TransactionResult(None)


def _insert(key: ApiKey, secret_hash: str) -> Query:
    return Query(
        INSERT_KEY,
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
            "last_used_at": key.last_used_at,
        },
    )


def _issue(
    key: ApiKey, secret_hash: str, promise: Idempotency, sealed: str
) -> Transaction[IssuedKey]:
    """Insert a key with the request's idempotency key, or find the one of the first request."""
    first = yield from _issued(key.workspace_id, promise, key.created_at)
    if first is not None:
        return TransactionResult(first)
    yield _insert(key, secret_hash)
    yield remember(promise, key.id, key.created_at, sealed)
    return TransactionResult(IssuedKey(key, sealed, replayed=False))


def _issued(workspace_id: str, promise: Idempotency, at: int) -> Part[IssuedKey | None]:
    first = yield from first_request(promise, at)
    if first is None:
        return None
    rows = yield Query(KEY, {"workspace": workspace_id, "id": first.made})
    assert first.answer is not None
    return IssuedKey(replace(_key_from(rows[0]), revoked_at=None), first.answer, replayed=True)


def _find_issued(workspace_id: str, promise: Idempotency, at: int) -> Transaction[IssuedKey | None]:
    """Find the key created by a request with this idempotency key."""
    return TransactionResult((yield from _issued(workspace_id, promise, at)))


def _read_page(workspace_id: str, page: Page) -> Transaction[list[ApiKey]]:
    """Read a page by keyset, and one more row to tell whether there are more."""
    given = {"workspace": workspace_id, "limit": page.limit + 1}
    if page.after is not None:
        rows = yield Query(KEYS_AFTER, given | {"after": page.after})
    elif page.before is not None:
        rows = yield Query(KEYS_BEFORE, given | {"before": page.before})
    else:
        rows = yield Query(KEYS_PAGE, given)
    found = [_key_from(row) for row in rows]
    return TransactionResult(found[::-1] if page.backwards else found)


def _by_hash(secret_hash: str) -> Transaction[ApiKey | None]:
    """Read a key by its hash; the only read without a workspace, which it determines."""
    rows = yield Query(KEY_BY_HASH, {"hash": secret_hash})
    return TransactionResult(_key_from(rows[0]) if rows else None)


def _get(workspace_id: str, key_id: str) -> Transaction[ApiKey | None]:
    """Read one of a workspace."""
    rows = yield Query(KEY, {"workspace": workspace_id, "id": key_id})
    return TransactionResult(_key_from(rows[0]) if rows else None)


def _revoked(since: int) -> Transaction[set[str]]:
    """Read the ids of recently revoked keys."""
    rows = yield Query(REVOKED_KEYS, {"since": since})
    return TransactionResult({row[0] for row in rows})


def _of_workspace(workspace_id: str) -> Transaction[list[ApiKey]]:
    """Read all of a workspace, oldest first."""
    rows = yield Query(KEYS, {"workspace": workspace_id})
    return TransactionResult([_key_from(row) for row in rows])


def _revoke(workspace_id: str, key_id: str, at: int) -> Transaction[None]:
    """Mark as revoked; a second time changes nothing."""
    rows = yield Query(REVOKE_KEY, {"workspace": workspace_id, "id": key_id, "at": at})
    if not rows:
        raise KeyNotFound(f"There is no key {key_id}.")
    return TransactionResult(None)


def _note_uses(used: Sequence[tuple[str, int]]) -> Transaction[None]:
    """Note uses in the order of the keys, so that processes do not wait for each other."""
    queries = (Query(NOTE_KEY_USE, {"key": key_id, "at": at}) for key_id, at in used)
    yield Together(tuple(queries))
    return TransactionResult(None)


class KeyStore:
    """API keys."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def put(self, key: ApiKey, secret_hash: str) -> None:
        """Create a key, or replace the one that has this hash."""
        await self._driver.write(lambda: _put(key, secret_hash))

    async def issue(
        self, key: ApiKey, secret_hash: str, promise: Idempotency, sealed: str
    ) -> IssuedKey:
        """Create a key, or return the one of the first request with this idempotency key.

        Raises IdempotencyMismatch.
        """
        return await self._driver.write(lambda: _issue(key, secret_hash, promise, sealed))

    async def issued(self, workspace_id: str, promise: Idempotency, at: int) -> IssuedKey | None:
        """Return the key of a request with this idempotency key. Raises IdempotencyMismatch."""
        return await self._driver.write(lambda: _find_issued(workspace_id, promise, at))

    async def page(self, workspace_id: str, page: Page) -> list[ApiKey]:
        """Return a page, newest first, revoked keys too, and one more if there are more."""
        return await self._driver.read(lambda: _read_page(workspace_id, page))

    async def by_hash(self, secret_hash: str) -> ApiKey | None:
        """Return the key of this secret, also if it is revoked or expired."""
        return await self._driver.read(lambda: _by_hash(secret_hash), light=True)

    async def get(self, workspace_id: str, key_id: str) -> ApiKey | None:
        """Return the key of this id, also if it is revoked or expired."""
        return await self._driver.read(lambda: _get(workspace_id, key_id), light=True)

    async def revoked(self, since: int) -> set[str]:
        """Return the ids of the keys, of all workspaces, revoked at this moment or later."""
        return await self._driver.read(lambda: _revoked(since), light=True)

    async def of_workspace(self, workspace_id: str) -> list[ApiKey]:
        """Return all keys of a workspace, oldest first."""
        return await self._driver.read(lambda: _of_workspace(workspace_id))

    async def note_uses(self, used: Sequence[tuple[str, int]]) -> None:
        """Note when keys were used, by their ids in order; a power cut may lose it."""
        await self._driver.write(lambda: _note_uses(used), durable=False)

    async def revoke(self, workspace_id: str, key_id: str, at: int) -> None:
        """Revoke a key; a second time changes nothing. Raises NotFound."""
        await self._driver.write(lambda: _revoke(workspace_id, key_id, at))
