"""Idempotency keys: a repeated request returns what the first one started."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Column, Index, Table, Text, bindparam, delete, insert, select, tuple_, update

from outlast.model.error import IdempotencyMismatch
from outlast.store.driver import Driver, Part, Query, Statement, Transaction, TransactionResult
from outlast.store.tables import identifier, metadata, time

IDEMPOTENCY_MILLIS = 24 * 60 * 60 * 1000
"""How long an idempotency key is kept."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The caller's promise that the same key means the same request."""

    key_id: str
    key: str
    digest: str
    """Digest of the request's route and body."""


idempotency: Final = Table(
    "idempotency",
    metadata,
    identifier("key_id", primary_key=True),
    Column("key", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    identifier("execution_id"),  # or the id of what else the request made
    Column("answer", Text),
    time("created_at"),
    Index(None, "created_at"),
    Index(None, "execution_id"),
)

IDEMPOTENT: Final = Statement(
    select(
        idempotency.c.digest,
        idempotency.c.execution_id,
        idempotency.c.answer,
        idempotency.c.created_at,
    ).where(idempotency.c.key_id == bindparam("key_id"), idempotency.c.key == bindparam("key"))
)

FORGET_KEY: Final = Statement(
    delete(idempotency).where(
        idempotency.c.key_id == bindparam("key_id"), idempotency.c.key == bindparam("key")
    )
)
"""Deletes an expired key before it is used again."""

_expired: Final = (
    select(idempotency.c.key_id, idempotency.c.key)
    .where(idempotency.c.created_at <= bindparam("since"))
    .order_by(idempotency.c.created_at)
    .limit(bindparam("limit"))
)

FORGET_IDEMPOTENT: Final = Statement(
    delete(idempotency)
    .where(tuple_(idempotency.c.key_id, idempotency.c.key).in_(_expired))
    .returning(idempotency.c.key_id)
)
"""Deletes the oldest keys, at most `limit`: a duty runs this repeatedly."""

INSERT_IDEMPOTENT: Final = Statement(insert(idempotency))

KEEP_ANSWER: Final = Statement(
    update(idempotency)
    .where(
        idempotency.c.key_id == bindparam("given_key_id"),
        idempotency.c.key == bindparam("given_key"),
    )
    .values(answer=bindparam("new_answer"))
)


@dataclass(frozen=True, slots=True)
class FirstRequest:
    """The first request with an idempotency key: what it created, and its response."""

    made: str
    """Id of what it created."""
    answer: str | None


def first_request(promise: Idempotency, at: int) -> Part[FirstRequest | None]:
    """Read the first request with this key, unless it has expired. Raises IdempotencyMismatch."""
    of_key = {"key_id": promise.key_id, "key": promise.key}
    rows = yield Query(IDEMPOTENT, of_key)
    if not rows:
        return None
    digest, made, answer, created_at = rows[0]
    if created_at <= at - IDEMPOTENCY_MILLIS:
        yield Query(FORGET_KEY, of_key)
        return None
    if digest != promise.digest:
        raise IdempotencyMismatch
    return FirstRequest(made, answer)


def remember(promise: Idempotency, made: str, at: int, answer: str | None = None) -> Query:
    """Return the query that stores a first request, in its resource's transaction."""
    return Query(
        INSERT_IDEMPOTENT,
        {
            "key_id": promise.key_id,
            "key": promise.key,
            "digest": promise.digest,
            "execution_id": made,
            "answer": answer,
            "created_at": at,
        },
    )


def _keep_answer(idempotency: Idempotency, answer: str) -> Transaction[None]:
    """Store the response with its key."""
    yield Query(
        KEEP_ANSWER,
        {
            "given_key_id": idempotency.key_id,
            "given_key": idempotency.key,
            "new_answer": answer,
        },
    )
    return TransactionResult(None)


def _claim(promise: Idempotency, at: int) -> Transaction[bool]:
    """Store a key that stands for itself; return False if it was known."""
    if (yield from first_request(promise, at)) is not None:
        return TransactionResult(False)
    yield remember(promise, promise.key, at)
    return TransactionResult(True)


def _forget(before: int, limit: int) -> Transaction[int]:
    """Delete idempotency keys older than this, the oldest first; return how many there were."""
    rows = yield Query(FORGET_IDEMPOTENT, {"since": before, "limit": limit})
    return TransactionResult(len(rows))


def try_write() -> Transaction[None]:
    """Write a row and delete it again, to check that the disk is writable."""
    row = {"key_id": "", "key": "", "digest": "", "execution_id": "", "answer": None}
    yield Query(INSERT_IDEMPOTENT, row | {"created_at": 0})
    yield Query(FORGET_IDEMPOTENT, {"since": 0, "limit": 1})
    return TransactionResult(None)


class IdempotencyStore:
    """Idempotency keys; they are written in the transaction that they protect."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def keep_answer(self, idempotency: Idempotency, answer: str) -> None:
        """Store the response for repeated requests."""
        await self._driver.write(lambda: _keep_answer(idempotency, answer))

    async def claim(self, promise: Idempotency, at: int) -> bool:
        """Use a key that has no request; return False if it was used in the last 24 hours."""
        return await self._driver.write(lambda: _claim(promise, at))

    async def forget(self, before: int, limit: int) -> int:
        """Delete the keys created until then, of all workspaces; return how many."""
        return await self._driver.write(lambda: _forget(before, limit))
