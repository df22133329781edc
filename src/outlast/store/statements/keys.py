"""Statements on workspaces, keys and idempotency."""

from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select, tuple_, update

from outlast.store.driver import Statement
from outlast.store.schema import idempotency, keys, workspaces

INSERT_WORKSPACE: Final = Statement(insert(workspaces))
WORKSPACES: Final = Statement(select(*workspaces.c).order_by(workspaces.c.id))
WORKSPACE_NAMED: Final = Statement(
    select(*workspaces.c).where(workspaces.c.name == bindparam("name"))
)

INSERT_KEY: Final = Statement(insert(keys))
DELETE_KEY_BY_HASH: Final = Statement(delete(keys).where(keys.c.hash == bindparam("hash")))
KEY_BY_HASH: Final = Statement(select(*keys.c).where(keys.c.hash == bindparam("hash")))
KEY: Final = Statement(
    select(*keys.c).where(
        keys.c.id == bindparam("id"), keys.c.workspace_id == bindparam("workspace")
    )
)
REVOKED_KEYS: Final = Statement(select(keys.c.id).where(keys.c.revoked_at >= bindparam("since")))
"""All workspaces: a server ends the streams of all of them."""
KEYS: Final = Statement(
    select(*keys.c).where(keys.c.workspace_id == bindparam("workspace")).order_by(keys.c.id)
)
REVOKE_KEY: Final = Statement(
    update(keys)
    .where(keys.c.id == bindparam("id"), keys.c.workspace_id == bindparam("workspace"))
    .values(revoked_at=func.coalesce(keys.c.revoked_at, bindparam("at")))
    .returning(keys.c.id)
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
"""Before an expired key is used again."""
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
"""All keys, the oldest first and not more than the limit: a duty calls this again and again."""
INSERT_IDEMPOTENT: Final = Statement(insert(idempotency))
KEEP_ANSWER: Final = Statement(
    update(idempotency)
    .where(
        idempotency.c.key_id == bindparam("given_key_id"),
        idempotency.c.key == bindparam("given_key"),
    )
    .values(answer=bindparam("new_answer"))
)
