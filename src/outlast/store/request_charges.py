"""Charges of requests that belong to no execution: to embedding models, for memory stores.

They are in the ledger without an execution, and spend from budgets of the workspace and the key.
What such a request may cost is reserved before it, and written down, so that nothing stays reserved
for a process that has died.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Column, Index, Table, Text, bindparam, delete, insert, select

from outlast.model.budget import NO_AMOUNTS, Amounts, Reservation
from outlast.model.charge import Charge
from outlast.store.budgets.shares import (
    Applying,
    Change,
    Full,
    change_shares,
    fitted,
    held_in,
)
from outlast.store.budgets.tables import budgets
from outlast.store.charges import INSERT_CHARGE
from outlast.store.driver import (
    Driver,
    Part,
    Query,
    Statement,
    Transaction,
    TransactionResult,
)
from outlast.store.tables import identifier, metadata, time, to_json

_NONE: Final = ""

reserved_requests: Final = Table(
    "reserved_requests",
    metadata,
    identifier("id", primary_key=True),  # of the charge
    identifier("workspace_id"),
    identifier("key_id"),  # empty: none
    Column("reserved", Text, nullable=False),
    time("at"),
    Index(None, "at"),
    sqlite_with_rowid=False,
)
"""What requests that are being made have reserved in budgets."""

INSERT_RESERVED_REQUEST: Final = Statement(insert(reserved_requests))
DELETE_RESERVED_REQUEST: Final = Statement(
    delete(reserved_requests)
    .where(reserved_requests.c.id == bindparam("id"))
    .returning(
        reserved_requests.c.workspace_id, reserved_requests.c.key_id, reserved_requests.c.reserved
    )
)
LOST_REQUESTS: Final = Statement(
    select(reserved_requests.c.id)
    .where(reserved_requests.c.at < bindparam("latest"))
    .order_by(reserved_requests.c.at)
    .limit(bindparam("limit"))
)
"""Selects requests whose process has died; those of all workspaces."""

BUDGETS_OF_REQUEST: Final = Statement(
    select(budgets.c.owner, budgets.c.resets_at, budgets.c.shares, budgets.c.created_at)
    .where(
        budgets.c.workspace_id == bindparam("workspace"),
        budgets.c.owner.in_([bindparam("workspace"), bindparam("key")]),
    )
    .order_by(budgets.c.owner)
)
"""Selects the budgets that a request spends from, in the order of locks."""


@dataclass(frozen=True, slots=True)
class RequestCharge:
    """A charge, and who made the request."""

    workspace_id: str
    key_id: str | None
    charge: Charge

    @property
    def amounts(self) -> Amounts:
        """What it spends."""
        return Amounts(self.charge.usage.total_tokens, self.charge.credits, 0)


def charge_request(wanted: RequestCharge, full: Full) -> Part[None]:
    """Charge a request before it is made, as the last part of a transaction.

    Raises QuotaExceeded if a budget has no room for it, and ShareFull: then nothing of the
    transaction is kept.
    """
    applying = yield from _budgets(wanted.workspace_id, wanted.key_id)
    yield _charge(wanted)
    charge, at = wanted.charge, wanted.charge.at
    nothing = held_in(applying, charge.id, NO_AMOUNTS)
    change = Change(charge.id, at, at, spent=wanted.amounts, held=nothing, of_request=True)
    yield from change_shares(applying, change, full=full)


def _charge(wanted: RequestCharge) -> Query:
    charge, usage = wanted.charge, wanted.charge.usage
    given: dict[str, Any] = {
        "execution_id": _NONE,
        "id": charge.id,
        "workspace_id": wanted.workspace_id,
        "step": charge.step,
        "kind": charge.kind,
        "name": charge.name,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "credits": charge.credits,
        "at": charge.at,
        "agent_id": None,
        "key_id": wanted.key_id or None,
        "conversation_id": None,
    }
    return Query(INSERT_CHARGE, given)


def _budgets(workspace_id: str, key_id: str | None) -> Part[list[Applying]]:
    rows = yield Query(BUDGETS_OF_REQUEST, {"workspace": workspace_id, "key": key_id or _NONE})
    return [Applying(*row) for row in rows]


def _reserve(wanted: RequestCharge, full: Full) -> Transaction[bool]:
    charge = wanted.charge
    applying = yield from _budgets(wanted.workspace_id, wanted.key_id)
    if not applying:
        return TransactionResult(False)
    held = held_in(applying, charge.id, wanted.amounts)
    given = {
        "id": charge.id,
        "workspace_id": wanted.workspace_id,
        "key_id": wanted.key_id or _NONE,
        "reserved": to_json(held.as_json()),
        "at": charge.at,
    }
    yield Query(INSERT_RESERVED_REQUEST, given)
    change = Change(charge.id, charge.at, charge.at, held=held, of_request=True)
    yield from change_shares(applying, change, full=full)
    return TransactionResult(True)


def _settle(wanted: RequestCharge) -> Transaction[None]:
    charge = wanted.charge
    rows = yield Query(DELETE_RESERVED_REQUEST, {"id": charge.id})
    released = Reservation.from_json(orjson.loads(rows[0][2])) if rows else None
    applying = yield from _budgets(wanted.workspace_id, wanted.key_id)
    yield _charge(wanted)
    change = Change(charge.id, charge.at, charge.at, spent=wanted.amounts, released=released)
    yield from change_shares(applying, change)
    return TransactionResult(None)


def _release(charge_id: str, at: int) -> Transaction[bool]:
    rows = yield Query(DELETE_RESERVED_REQUEST, {"id": charge_id})
    if not rows:
        return TransactionResult(False)
    ((workspace_id, key_id, reserved),) = rows
    applying = yield from _budgets(workspace_id, key_id)
    released = Reservation.from_json(orjson.loads(reserved))
    yield from change_shares(applying, Change(charge_id, at, at, released=released))
    return TransactionResult(True)


def _lost(before: int, limit: int) -> Transaction[list[str]]:
    rows = yield Query(LOST_REQUESTS, {"latest": before, "limit": limit})
    return TransactionResult([charge_id for (charge_id,) in rows])


class RequestChargeStore:
    """Charges of requests, and what they reserve before they are made."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def reserve(self, wanted: RequestCharge) -> bool:
        """Reserve what a request may cost in its budgets; return whether there are any.

        A power cut may lose it, with the process that is to make the request. Raises QuotaExceeded,
        Overloaded.
        """
        return await fitted(
            lambda full: self._driver.write(lambda: _reserve(wanted, full), durable=False)
        )

    async def settle(self, wanted: RequestCharge) -> None:
        """Charge a request that was made, and release what it has reserved. Raises Overloaded."""
        await self._driver.write(lambda: _settle(wanted))

    async def release(self, charge_id: str, at: int) -> bool:
        """Release what a request has reserved that costs nothing; return whether it had."""
        return await self._driver.write(lambda: _release(charge_id, at))

    async def lost(self, before: int, limit: int) -> list[str]:
        """Return the charges of requests that have reserved before this moment, not settled."""
        return await self._driver.read(lambda: _lost(before, limit))
