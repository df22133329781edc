"""Workspaces and API keys: a key is created once, shown once, stored as a hash."""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from outlast.model.clock import Clock
from outlast.model.error import ExpiredKey, Overloaded, Unauthenticated
from outlast.model.ids import KEY, WORKSPACE, parse
from outlast.model.workspace import ApiKey, Plan, Principal, Scope, Workspace
from outlast.store.keys import KeyStore

DEFAULT_WORKSPACE: Final = "default"
_PREFIX: Final = "sk_outlast_"
_FRESH_SECONDS: Final = 1.0
"""How long a revocation by another process may go unnoticed."""
_CACHED: Final = 10_000
_REMEMBERED: Final = 24 * 60 * 60 * 1000
"""Maximum difference between the clocks of two processes, in milliseconds."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just created: the only time that its secret is known."""

    key: ApiKey
    secret: str


class Keys:
    """Creates keys and authenticates secrets."""

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[float, ApiKey | None]] = {}

    async def authenticate(self, secret: str) -> Principal:
        """Return the principal of this secret. Raises Unauthenticated, ExpiredKey."""
        wanted = _hash(secret)
        return self._principal(await self._find(wanted, lambda: self._store.by_hash(wanted)))

    async def holder(self, workspace_id: str, key_id: str) -> Principal:
        """Return the principal of the key with this id. Raises Unauthenticated, ExpiredKey."""
        return self._principal(
            await self._find(key_id, lambda: self._store.get(workspace_id, key_id))
        )

    async def spent(self, principals: Collection[Principal]) -> set[str]:
        """Return the ids of those keys that were revoked, by any process, or have expired."""
        now = self._clock.now()
        found = {
            one.key_id for one in principals if one.expires_at is not None and one.expires_at <= now
        }
        with suppress(Overloaded):  # while the database is away, no key can be revoked
            revoked = await self._store.revoked(now - _REMEMBERED)
            found |= revoked & {one.key_id for one in principals}
        return found

    def _principal(self, key: ApiKey | None) -> Principal:
        if key is None or key.revoked_at is not None:
            raise Unauthenticated
        if key.expires_at is not None and key.expires_at <= self._clock.now():
            raise ExpiredKey
        return Principal(key.id, key.workspace_id, key.scopes, key.agent_id, key.expires_at)

    async def workspace(self, name: str, plan: Plan = Plan.STARTER) -> Workspace:
        """Return the workspace of that name, created if there is none."""
        return await self._store.put_workspace(
            Workspace(self._clock.new_id(WORKSPACE), name, self._clock.now(), plan)
        )

    async def workspaces(self) -> list[Workspace]:
        """Return all workspaces, oldest first."""
        return await self._store.workspaces()

    async def workspace_named(self, name: str) -> Workspace:
        """Return the workspace of that name. Raises NotFound."""
        return await self._store.workspace_named(name)

    async def create(
        self,
        workspace_id: str,
        name: str,
        scopes: frozenset[Scope] = frozenset(Scope),
        *,
        agent_id: str | None = None,
        expires_at: int | None = None,
        secret: str | None = None,
    ) -> NewKey:
        """Create a key; `secret` is for a value chosen by the operator."""
        secret = secret or _PREFIX + secrets.token_urlsafe(32)
        key = ApiKey(
            self._clock.new_id(KEY),
            workspace_id,
            name,
            scopes,
            self._clock.now(),
            agent_id,
            expires_at,
        )
        await self._store.put(key, _hash(secret))
        self._known.clear()
        return NewKey(key, secret)

    async def ensure(self, workspace_id: str, name: str, secret: str) -> None:
        """Ensure that this value is a key of the workspace with all scopes."""
        known = await self._store.by_hash(_hash(secret))
        if known is None or known.workspace_id != workspace_id or known.revoked_at is not None:
            await self.create(workspace_id, name, secret=secret)

    async def of_workspace(self, workspace_id: str) -> list[ApiKey]:
        """Return all keys of a workspace, oldest first, without their secrets."""
        return await self._store.of_workspace(workspace_id)

    async def revoke(self, workspace_id: str, key_id: str) -> None:
        """Revoke a key at once and for good. Raises NotFound, InvalidId."""
        await self._store.revoke(workspace_id, parse(KEY, key_id), self._clock.now())
        self._known.clear()

    async def _find(self, name: str, read: Callable[[], Awaitable[ApiKey | None]]) -> ApiKey | None:
        """Return a key by its hash or id, read at most once a second."""
        now = self._clock.monotonic()
        known = self._known.get(name)
        if known is not None and now - known[0] < _FRESH_SECONDS:
            return known[1]
        key = await read()
        if len(self._known) >= _CACHED:
            self._known.clear()
        self._known[name] = (now, key)
        return key


def _hash(secret: str) -> str:
    """SHA-256: a secret of 256 random bits cannot be guessed, so a slow hash is not needed."""
    return hashlib.sha256(secret.encode()).hexdigest()
