"""Sessions of the console: a key becomes a cookie, or a link that signs in once.

A session holds the id of its key, sealed, and nothing else that is secret. Each request checks the
key again, so a session ends with its key. A link is used once over all processes: its use is
recorded beside the idempotency keys.
"""

import secrets
from dataclasses import dataclass
from typing import Final

from outlast.model.clock import Clock
from outlast.model.error import Unauthenticated
from outlast.model.workspace import ApiKey, Principal
from outlast.seal import LINK, SESSION, DecryptionFailed, Seal
from outlast.services.keys import Keys
from outlast.services.tickets import Ticket
from outlast.store.idempotency import Idempotency, IdempotencyStore

SESSION_SECONDS: Final = 12 * 60 * 60
"""How long a session lasts without a request."""
LINK_SECONDS: Final = 2 * 60
_RENEWED_AFTER: Final = 10 * 60
_NO_DIGEST: Final = "console"


@dataclass(frozen=True, slots=True)
class Session:
    """A request's session."""

    principal: Principal
    key: ApiKey
    is_old: bool
    """Whether to renew it, so that it lasts on."""


class Sessions:
    """Begins and continues sessions."""

    def __init__(self, used: IdempotencyStore, seal: Seal, clock: Clock, keys: Keys) -> None:
        self._used = used
        self._seal = seal
        self._clock = clock
        self._keys = keys

    def begin(self, principal: Principal) -> str:
        """Return a sealed session of this key, for a cookie."""
        of = [principal.workspace_id, principal.key_id, self._clock.now() // 1000]
        return self._seal.seal(SESSION, of)

    async def continued(self, sealed: str) -> Session:
        """Return the session. Raises Unauthenticated, ExpiredKey."""
        try:
            workspace_id, key_id, began = self._seal.open(SESSION, sealed, SESSION_SECONDS)
        except DecryptionFailed as error:
            raise Unauthenticated("This session has ended.") from error
        principal = await self._keys.holder(workspace_id, key_id)
        is_old = self._clock.now() // 1000 - began >= _RENEWED_AFTER
        return Session(principal, await self._keys.own(principal), is_old)

    def link(self, principal: Principal) -> Ticket:
        """Return a ticket that signs in once, as this key."""
        of = [principal.workspace_id, principal.key_id, secrets.token_urlsafe(16)]
        ends = (self._clock.now() // 1000 + LINK_SECONDS) * 1000
        return Ticket(self._seal.seal(LINK, of), ends)

    async def enter(self, ticket: str) -> Principal:
        """Return the principal of a ticket that was not used before.

        Raises Unauthenticated, ExpiredKey.
        """
        try:
            workspace_id, key_id, once = self._seal.open(LINK, ticket, LINK_SECONDS)
        except DecryptionFailed as error:
            raise Unauthenticated("This link has expired, or never was one.") from error
        principal = await self._keys.holder(workspace_id, key_id)
        promise = Idempotency(key_id, f"console link {once}", _NO_DIGEST)
        if not await self._used.claim(promise, self._clock.now()):
            raise Unauthenticated("This link was used before; it works once.")
        return principal
