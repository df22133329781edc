"""Budgets: what a conversation, a key or the workspace may spend, and what is left."""

from dataclasses import dataclass
from typing import Final

from outlast.model import ids
from outlast.model.budget import Bounds, BudgetKind, OwnedBudget, Period
from outlast.model.clock import Clock
from outlast.model.error import (
    BudgetNotFound,
    Conflict,
    ExecutionNotFound,
    InvalidField,
    InvalidId,
    KeyNotFound,
)
from outlast.model.timetable import UnknownZone, zone_of
from outlast.model.workspace import Principal, Scope
from outlast.services.keys import Keys
from outlast.store.budgets.read import BudgetPage
from outlast.store.budgets.write import NewBudget
from outlast.store.executions.spending import bounds_of
from outlast.store.store import Store

__all__ = ["BudgetPage", "Budgets", "SetBudget"]

OWN: Final = "workspace"
"""The owner's name for the workspace of the key in use."""


@dataclass(frozen=True, slots=True)
class SetBudget:
    """Bounds wanted, and how often they begin anew."""

    bounds: Bounds
    period: Period = Period.NONE
    zone: str = "UTC"


class Budgets:
    """The budgets of a workspace."""

    def __init__(self, store: Store, keys: Keys, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock

    async def page(self, principal: Principal, page: BudgetPage) -> tuple[list[OwnedBudget], bool]:
        """Return a page by owner, and whether there are more. Raises MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        now = self._clock.now()
        found = await self._store.budgets.page(principal.workspace_id, page, now)
        return found[: page.limit], len(found) > page.limit

    async def get(self, principal: Principal, owner: str) -> OwnedBudget:
        """Return one budget. Raises BudgetNotFound, MissingScope.

        One of a request whose execution has called nothing is what that alone has spent.
        """
        principal.require(Scope.EXECUTIONS_READ)
        name = owner_of(principal, owner)
        found = await self._store.budgets.of(principal.workspace_id, [name], self._clock.now())
        if name in found:
            return found[name]
        if BudgetKind.of(name) is BudgetKind.TREE:
            return await self._alone(principal, name)
        raise BudgetNotFound

    async def _alone(self, principal: Principal, execution_id: str) -> OwnedBudget:
        try:
            execution = await self._store.executions.get(principal.workspace_id, execution_id)
        except ExecutionNotFound as error:
            raise BudgetNotFound from error
        bounds = bounds_of(execution.budget)
        if not bounds or execution.root_id is not None:
            raise BudgetNotFound
        spent = execution.spent
        return OwnedBudget(execution.id, bounds, spent=spent, spent_millis=execution.active_ms)

    async def set(self, principal: Principal, owner: str, wanted: SetBudget) -> OwnedBudget:
        """Set a budget, replacing the one before; what is spent in the same period stays.

        Raises KeyNotFound, ConversationNotFound, BudgetNotFound, Conflict (of an execution),
        InvalidField, MissingScope.
        """
        principal.require(Scope.KEYS_MANAGE)
        name = owner_of(principal, owner)
        _require_zone(wanted.zone)
        await self._require_owner(principal, name)
        made = await self._store.budgets.put(
            NewBudget(
                name,
                principal.workspace_id,
                wanted.bounds,
                wanted.period,
                wanted.zone,
                self._clock.now(),
            )
        )
        self._keys.forget()
        return made

    async def remove(self, principal: Principal, owner: str) -> None:
        """Remove a budget, if there is one. Raises Conflict (of an execution), MissingScope."""
        principal.require(Scope.KEYS_MANAGE)
        name = owner_of(principal, owner)
        _require_own(name)
        await self._store.budgets.remove(principal.workspace_id, name)
        self._keys.forget()

    async def _require_owner(self, principal: Principal, owner: str) -> None:
        _require_own(owner)
        match BudgetKind.of(owner):
            case BudgetKind.KEY:
                if await self._store.keys.get(principal.workspace_id, owner) is None:
                    raise KeyNotFound
            case BudgetKind.CONVERSATION:
                await self._store.conversations.get(principal.workspace_id, owner)
            case BudgetKind.WORKSPACE | BudgetKind.TREE:
                pass


def owner_of(principal: Principal, text: str) -> str:
    """Return the owner of a path: `workspace`, an id, or `key:ID`. Raises BudgetNotFound."""
    if text in (OWN, principal.workspace_id):
        return principal.workspace_id
    named, _, bare = text.rpartition(":")
    for kind in BudgetKind:
        if kind is not BudgetKind.WORKSPACE and bare.startswith(f"{kind.value}_"):
            try:
                return ids.parse(kind.value, bare)
            except InvalidId as error:
                raise BudgetNotFound from error
    if named == BudgetKind.KEY.value:
        try:
            return ids.parse(ids.KEY, bare)
        except InvalidId as error:
            raise BudgetNotFound from error
    raise BudgetNotFound


def _require_own(owner: str) -> None:
    if BudgetKind.of(owner) is BudgetKind.TREE:
        raise Conflict("The budget of an execution is that of its request; it does not change.")


def _require_zone(name: str) -> None:
    try:
        zone_of(name)
    except UnknownZone as error:
        raise InvalidField(
            f"{name[:80]!r} is not a time zone such as Europe/Berlin.", param="timeZone"
        ) from error
