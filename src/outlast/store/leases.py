"""The lease of maintenance: one row, taken by compare-and-set with the database's clock.

Only on Postgres: a SQLite file has one process. A lease only saves work, correctness does not
depend on it; a power cut may lose it, so no commit waits for the disk.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Table,
    Text,
    bindparam,
    cast,
    extract,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.store.driver import Driver, Query, Statement, Transaction, TransactionResult
from outlast.store.tables import flag, metadata, time

maintenance_leases: Final = Table(
    "maintenance_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    flag("works"),
    time("expires_at"),
)
"""One row, on Postgres: which process leads, whether it runs executions, and until when by the
database's clock. Correctness does not depend on it."""


LONGEST_MILLIS: Final = 60_000
"""Maximum duration of a lease: a longer one means that the clock was set back since."""
_NAME: Final = "maintenance"
_NOW: Final[ColumnElement[int]] = cast(extract("epoch", func.now()) * 1000, BigInteger)
"""Milliseconds of the database's clock."""

_HELD: Final = Statement(
    select(
        maintenance_leases.c.holder,
        maintenance_leases.c.works,
        maintenance_leases.c.expires_at - _NOW,
    ).where(maintenance_leases.c.name == bindparam("lease"))
)

_TAKE: Final = Statement(
    update(maintenance_leases)
    .where(
        maintenance_leases.c.name == bindparam("lease"),
        or_(
            maintenance_leases.c.holder == bindparam("candidate"),
            maintenance_leases.c.expires_at <= _NOW - bindparam("patience", type_=BigInteger),
            maintenance_leases.c.expires_at > _NOW + LONGEST_MILLIS,
            maintenance_leases.c.works < bindparam("candidate_works"),
        ),
    )
    .values(
        holder=bindparam("candidate"),
        works=bindparam("candidate_works"),
        expires_at=_NOW + bindparam("millis", type_=BigInteger),
    )
    .returning(maintenance_leases.c.holder)
)
"""Renew one's own lease, take one that has expired or is too long, or take it from a process that
runs no executions; no row means that another process has it."""

_FIRST: Final = Statement(
    insert(maintenance_leases).values(
        name=bindparam("lease"),
        holder=bindparam("candidate"),
        works=bindparam("candidate_works"),
        expires_at=_NOW + bindparam("millis", type_=BigInteger),
    )
)
"""Insert the first lease; of two concurrent inserts, one is retried and finds the other's."""

_RELEASE: Final = Statement(
    update(maintenance_leases)
    .where(
        maintenance_leases.c.name == bindparam("lease"),
        maintenance_leases.c.holder == bindparam("candidate"),
    )
    .values(expires_at=_NOW)
    .returning(maintenance_leases.c.holder)
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A process that may lead."""

    id: str
    works: bool
    """Whether it runs executions; such a process has priority."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who leads, and the milliseconds left; 0 or less: expired."""

    holder: str
    works: bool
    left: int


class Leases:
    """The lease of maintenance in a Postgres database."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def held(self) -> Lease | None:
        """Return the lease; None if no process has ever had it. Raises Overloaded."""
        return await self._driver.read(_held)

    async def take(self, candidate: Candidate, millis: int, patience: int) -> bool:
        """Take or renew the lease for `millis`; False if another process has it.

        `patience`: milliseconds since its expiry that are required. Raises Overloaded.
        """
        return await self._driver.write(lambda: _take(candidate, millis, patience), durable=False)

    async def release(self, candidate: Candidate) -> None:
        """Release the candidate's lease, and notify the others. Raises Overloaded."""
        await self._driver.write(lambda: _release(candidate), durable=False)


def _held() -> Transaction[Lease | None]:
    rows = yield Query(_HELD, {"lease": _NAME})
    return TransactionResult(Lease(*rows[0]) if rows else None)


def _take(candidate: Candidate, millis: int, patience: int) -> Transaction[bool]:
    of = {"lease": _NAME, "candidate": candidate.id, "candidate_works": candidate.works}
    taken = yield Query(_TAKE, {**of, "millis": millis, "patience": patience})
    if taken or (yield Query(_HELD, {"lease": _NAME})):
        return TransactionResult(bool(taken))
    yield Query(_FIRST, {**of, "millis": millis})
    return TransactionResult(value=True)


def _release(candidate: Candidate) -> Transaction[None]:
    of = {"lease": _NAME, "candidate": candidate.id}
    released = yield Query(_RELEASE, of)
    return TransactionResult(None, lease_released=bool(released))
