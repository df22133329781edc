"""Stream tickets: a browser's EventSource sends no headers, so its URL may carry a ticket."""

from dataclasses import dataclass, replace
from typing import Final

from outlast.model.clock import Clock
from outlast.model.error import InvalidId, Unauthenticated
from outlast.model.ids import EXECUTION, parse
from outlast.model.workspace import Principal, Scope
from outlast.seal import TICKET, DecryptionFailed, Seal
from outlast.services.keys import Keys
from outlast.store.executions.store import ExecutionStore

LIFE_SECONDS: Final = 60 * 60
"""EventSource reconnects with the URL that it was given, so a ticket outlives a lost connection."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket for one execution's stream."""

    secret: str
    expires_at: int
    """Milliseconds since the epoch."""


class Tickets:
    """Issues and redeems tickets."""

    def __init__(self, store: ExecutionStore, seal: Seal, clock: Clock, keys: Keys) -> None:
        self._store = store
        self._seal = seal
        self._clock = clock
        self._keys = keys

    async def issue(self, principal: Principal, execution_id: str) -> Ticket:
        """Return a ticket for one execution. Raises ExecutionNotFound, InvalidId, MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        known = await self._store.get(principal.workspace_id, parse(EXECUTION, execution_id))
        opens = [principal.workspace_id, known.id, principal.key_id]
        seconds = self._clock.now() // 1000 + LIFE_SECONDS
        return Ticket(self._seal.seal(TICKET, opens), seconds * 1000)

    async def redeem(self, secret: str, execution_id: str) -> Principal:
        """Return a principal that may only read this execution, while the ticket's key is valid.

        Raises Unauthenticated, ExpiredKey.
        """
        try:
            workspace_id, opened, key_id = self._seal.open(TICKET, secret, LIFE_SECONDS)
            wanted = parse(EXECUTION, execution_id)
        except (DecryptionFailed, InvalidId) as error:
            raise Unauthenticated("This ticket has expired, or never was one.") from error
        if opened != wanted:
            raise Unauthenticated("This ticket is for another execution.")
        holder = await self._keys.holder(workspace_id, key_id)
        return replace(holder, scopes=holder.scopes & {Scope.EXECUTIONS_READ}, agent_id=None)
