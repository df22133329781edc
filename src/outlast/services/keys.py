"""API keys: a key is created once, shown once, stored as a hash."""

import hashlib
import secrets
from collections.abc import Awaitable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.model.clock import Clock
from outlast.model.error import (
    ExpiredKey,
    InvalidField,
    KeyNotFound,
    MissingScope,
    OutlastError,
    Overloaded,
    Unauthenticated,
)
from outlast.model.ids import KEY, parse
from outlast.model.workspace import ApiKey, Principal, Scope
from outlast.seal import Seal
from outlast.services.fresh import Fresh
from outlast.store.idempotency import Idempotency
from outlast.store.keys import IssuedKey, KeyStore
from outlast.store.page import Page

_PREFIX: Final = "sk_outlast_"
_FRESH_SECONDS: Final = 1.0
"""How long a revocation by another process may go unnoticed."""
_NEW_KEY: Final = "new key"
"""Purpose of sealing a new key's secret."""
_NO_FILE: Final = Path()
"""The seal's secret is given, so no file is needed."""
_CACHED: Final = 10_000
_NOTED_AGAIN: Final = 5 * 60 * 1000
"""Milliseconds in which the use of a key is noted once."""
_NOTED_TOGETHER: Final = 500
_REMEMBERED: Final = 24 * 60 * 60 * 1000
"""Maximum difference between the clocks of two processes, in milliseconds."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just created: the only time that its secret is known."""

    key: ApiKey
    secret: str
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A request to create a key."""

    name: str
    scopes: frozenset[Scope]
    agent_id: str | None = None
    expires_at: int | None = None


class Keys:
    """Creates keys and authenticates secrets."""

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: Fresh[str, ApiKey | None] = Fresh(clock, _FRESH_SECONDS, _CACHED)
        self._used: dict[str, int] = {}
        """Uses that are not noted yet, by key."""

    async def authenticate(self, secret: str) -> Principal:
        """Return the principal of this secret. Raises Unauthenticated, ExpiredKey."""
        wanted = _hash(secret)
        return self._principal(
            await self._known.get(wanted, lambda: self._used_now(self._store.by_hash(wanted)))
        )

    def forget(self) -> None:
        """Read every key anew at its next use."""
        self._known.forget()

    async def holder(self, workspace_id: str, key_id: str) -> Principal:
        """Return the principal of the key with this id. Raises Unauthenticated, ExpiredKey."""
        own = self._store.get
        return self._principal(
            await self._known.get(key_id, lambda: self._used_now(own(workspace_id, key_id)))
        )

    async def _used_now(self, read: Awaitable[ApiKey | None]) -> ApiKey | None:
        """Return a key that is read for a request, and remember its use if none is noted lately."""
        key = await read
        now = self._clock.now()
        if key is not None and _opens(key, now) and now - (key.last_used_at or 0) >= _NOTED_AGAIN:
            self._used.setdefault(key.id, now)
        return key

    async def note_uses(self) -> None:
        """Store which keys were used since the last time; without any, nothing is written."""
        used, self._used = sorted(self._used.items()), {}
        for start in range(0, len(used), _NOTED_TOGETHER):
            try:
                await self._store.note_uses(used[start : start + _NOTED_TOGETHER])
            except OutlastError:
                self._used = dict(used[start:]) | self._used
                raise

    async def own(self, principal: Principal) -> ApiKey:
        """Return the caller's key. Raises Unauthenticated."""
        workspace_id, key_id = principal.workspace_id, principal.key_id
        found = await self._known.get(key_id, lambda: self._store.get(workspace_id, key_id))
        if found is None:
            raise Unauthenticated
        return found

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
        if not _opens(key, self._clock.now()):
            raise ExpiredKey
        return Principal(
            key.id, key.workspace_id, key.scopes, key.agent_id, key.expires_at, key.budgeted
        )

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
        secret = secret or _new_secret()
        key = self._new(workspace_id, KeyRequest(name, scopes, agent_id, expires_at))
        await self._store.put(key, _hash(secret))
        self._known.forget()
        return NewKey(key, secret)

    async def issue(
        self, principal: Principal, request: KeyRequest, promise: Idempotency | None, own: str
    ) -> NewKey:
        """Create a key of the caller's workspace, with no scope that the caller's key lacks.

        own: the secret of the caller's key. The response stored for repeated requests is sealed
        with it, so only the caller can read the new secret. Raises MissingScope, InvalidField,
        IdempotencyMismatch.
        """
        principal.require(Scope.KEYS_MANAGE)
        if lacking := sorted(request.scopes - principal.scopes):
            raise MissingScope(
                f"A key gives no scope that it lacks itself: {', '.join(lacking)}.", param="scopes"
            )
        if request.expires_at is not None and request.expires_at <= self._clock.now():
            raise InvalidField("expiresAt must be in the future.", param="expiresAt")
        if promise is None:
            return await self.create(
                principal.workspace_id,
                request.name,
                request.scopes,
                agent_id=request.agent_id,
                expires_at=request.expires_at,
            )
        secret = _new_secret()
        key = self._new(principal.workspace_id, request)
        sealed = self._seal(own).seal(_NEW_KEY, secret)
        return self._opened(await self._store.issue(key, _hash(secret), promise, sealed), own)

    async def repeated(self, principal: Principal, promise: Idempotency, own: str) -> NewKey | None:
        """Return the result of `issue` for the first request with this idempotency key.

        Raises MissingScope, IdempotencyMismatch.
        """
        principal.require(Scope.KEYS_MANAGE)
        found = await self._store.issued(principal.workspace_id, promise, self._clock.now())
        return None if found is None else self._opened(found, own)

    async def page(self, principal: Principal, page: Page) -> tuple[list[ApiKey], bool]:
        """Return a page, newest first, and whether there are more in the direction of the walk."""
        principal.require(Scope.KEYS_MANAGE)
        return page.cut(await self._store.page(principal.workspace_id, page))

    async def get(self, principal: Principal, key_id: str) -> ApiKey:
        """Return one key of the workspace, revoked or not. Raises KeyNotFound, MissingScope."""
        principal.require(Scope.KEYS_MANAGE)
        found = await self._store.get(principal.workspace_id, key_id)
        if found is None:
            raise KeyNotFound
        return found

    async def withdraw(self, principal: Principal, key_id: str) -> None:
        """Revoke a key of the workspace, also the caller's. Raises KeyNotFound, MissingScope."""
        principal.require(Scope.KEYS_MANAGE)
        await self.revoke(principal.workspace_id, key_id)

    def _new(self, workspace_id: str, request: KeyRequest) -> ApiKey:
        return ApiKey(
            self._clock.new_id(KEY),
            workspace_id,
            request.name,
            request.scopes,
            self._clock.now(),
            request.agent_id,
            request.expires_at,
        )

    def _seal(self, own: str) -> Seal:
        return Seal(own, _NO_FILE, self._clock)

    def _opened(self, issued: IssuedKey, own: str) -> NewKey:
        secret = self._seal(own).open(_NEW_KEY, issued.sealed)
        return NewKey(issued.key, secret, issued.replayed)

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
        try:
            await self._store.revoke(workspace_id, parse(KEY, key_id), self._clock.now())
        finally:  # a request that is cut off may have revoked it
            self._known.forget()


def _opens(key: ApiKey, now: int) -> bool:
    """Whether it opens anything."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def _new_secret() -> str:
    return _PREFIX + secrets.token_urlsafe(32)


def _hash(secret: str) -> str:
    """SHA-256: a secret of 256 random bits cannot be guessed, so a slow hash is not needed."""
    return hashlib.sha256(secret.encode()).hexdigest()
