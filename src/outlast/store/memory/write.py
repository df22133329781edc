"""Writing an item: in a transaction of its own, or in that of the tool call that writes it."""

from dataclasses import dataclass, replace
from typing import Final

from outlast.model.charge import Charge
from outlast.model.embedding import embedded_text
from outlast.model.error import (
    Conflict,
    MemoryArchived,
    MemoryFull,
    MemoryItemNotFound,
    MemoryStoreNotFound,
    PreconditionFailed,
)
from outlast.model.memory import (
    MAX_VERSIONS,
    MemoryItem,
    MemoryStore,
    MemoryVersion,
    MemoryWrite,
    digest_of,
)
from outlast.model.usage import Usage, estimate_tokens
from outlast.model.workspace import MemoryLimits, Plan
from outlast.store.driver import Part, Query, Transaction, TransactionResult
from outlast.store.memory.rows import (
    COUNT_MEMORY,
    DELETE_MEMORY_ITEM,
    DELETE_MEMORY_VERSIONS,
    INSERT_MEMORY_ITEM,
    INSERT_MEMORY_VERSION,
    LOCK_MEMORY_STORE,
    MEMORY_ITEM,
    MEMORY_ITEM_BY_ID,
    MEMORY_VERSION,
    REDACT_MEMORY_VERSION,
    UPDATE_MEMORY_ITEM,
    item_from,
    store_from,
    version_from,
)
from outlast.store.memory.vectors import DELETE_VECTOR, INSERT_VECTOR, RENEW_VECTOR
from outlast.store.memory.words import indexed
from outlast.store.request_charges import RequestCharge
from outlast.store.tables import to_json

_ANY: Final = "*"
MEMORY_REFUSALS: Final = (MemoryStoreNotFound, MemoryItemNotFound, MemoryArchived, MemoryFull)
"""Errors of a write by key without a condition: the transaction has changed nothing."""


@dataclass(frozen=True, slots=True)
class Written:
    """Result of a write."""

    item: MemoryItem | None
    """The item as it is now; None if it was deleted."""
    created: bool = False
    charge: RequestCharge | None = None
    """The request for its vector, which is still to be charged: budgets come last."""


def write(wanted: MemoryWrite) -> Part[Written]:
    """Lock the store and write, rename or delete an item, with its version and the store's sums.

    Writes of one store take effect one after the other. Raises MemoryStoreNotFound, MemoryArchived,
    MemoryItemNotFound, MemoryFull, PreconditionFailed, Conflict (the new key is another item's).
    """
    of = {"workspace": wanted.workspace_id, "store": wanted.store_id}
    rows = yield Query(LOCK_MEMORY_STORE, of)
    if not rows:
        raise MemoryStoreNotFound
    *row, plan = rows[0]
    store = store_from(row)
    if store.archived_at is not None:
        raise MemoryArchived(f"The memory store {store.name!r} is archived: it is read-only.")
    known = yield from _known(wanted)
    if _is_met_already(wanted, known):
        return Written(known)
    if wanted.deleted:
        return (yield from _delete(wanted, store, known))
    if known is None:
        return (yield from _create(wanted, store, Plan(plan)))
    return (yield from _update(wanted, store, known, Plan(plan)))


def _known(wanted: MemoryWrite) -> Part[MemoryItem | None]:
    """Read the item; None if it may be created. Raises MemoryItemNotFound."""
    of = {"store": wanted.store_id}
    if wanted.item_id is not None:
        rows = yield Query(MEMORY_ITEM_BY_ID, of | {"id": wanted.item_id})
    else:
        rows = yield Query(MEMORY_ITEM, of | {"key": wanted.key})
    if rows:
        return item_from(rows[0])
    if wanted.item_id is not None or wanted.existing or wanted.deleted:
        raise MemoryItemNotFound
    return None


def _is_met_already(wanted: MemoryWrite, known: MemoryItem | None) -> bool:
    """Whether the item is as a conditional write, or a change, would leave it.

    So a client whose first request was cut off may repeat it. Raises PreconditionFailed.
    """
    if wanted.absent and known is not None:
        raise PreconditionFailed(f"There is an item {known.key!r} already.")
    same = known is not None and not wanted.deleted and _changed(wanted, known) == known
    if wanted.matching is None:
        return same and wanted.existing
    if same:
        return True
    if known is not None and (_ANY in wanted.matching or known.sha256 in wanted.matching):
        return False
    raise PreconditionFailed(
        "There is no such item." if known is None else f"The item is another: {known.sha256}."
    )


def _changed(wanted: MemoryWrite, known: MemoryItem) -> MemoryItem:
    """Return the item with what the write gives it; version, time and writer are the old ones."""
    content = known.content if wanted.content is None else wanted.content
    return MemoryItem(
        known.id,
        known.store_id,
        known.key if wanted.new_key is None else wanted.new_key,
        content,
        known.metadata if wanted.metadata is None else wanted.metadata,
        digest_of(content),
        len(content.encode()),
        known.version,
        known.created_at,
        known.updated_at,
        known.writer,
    )


def _create(wanted: MemoryWrite, store: MemoryStore, plan: Plan) -> Part[Written]:
    assert wanted.key is not None
    assert wanted.content is not None
    content = wanted.content
    size = len(content.encode())
    _require_room(store, plan, wanted.limits[plan], 1, size)
    item = MemoryItem(
        wanted.new_id,
        wanted.store_id,
        wanted.key,
        content,
        wanted.metadata or {},
        digest_of(content),
        size,
        1,
        wanted.at,
        wanted.at,
        wanted.writer,
    )
    fixed = {"id": item.id, "store_id": item.store_id, "version": 1, "created_at": item.created_at}
    yield Query(INSERT_MEMORY_ITEM, fixed | _columns(item))
    yield _version(wanted, item)
    due = None if store.embedding is None else wanted.at
    if due is not None:
        yield Query(INSERT_VECTOR, _waiting(item, due))
    yield _count(wanted.workspace_id, wanted.store_id, 1, size, embed=due)
    return Written(item, created=True, charge=_charge(wanted, item) if due is not None else None)


def _update(
    wanted: MemoryWrite, store: MemoryStore, known: MemoryItem, plan: Plan
) -> Part[Written]:
    changed = _changed(wanted, known)
    if changed.key != known.key:
        others = yield Query(MEMORY_ITEM, {"store": wanted.store_id, "key": changed.key})
        if others:
            raise Conflict(f"Another item has the key {changed.key!r}.", param="key")
    _require_room(store, plan, wanted.limits[plan], 0, changed.bytes - known.bytes)
    item = MemoryItem(
        known.id,
        known.store_id,
        changed.key,
        changed.content,
        changed.metadata,
        changed.sha256,
        changed.bytes,
        known.version + 1,
        known.created_at,
        max(wanted.at, known.updated_at),
        wanted.writer,
    )
    new = {f"new_{name}": value for name, value in _columns(item).items()}
    yield Query(UPDATE_MEMORY_ITEM, new | {"given_id": item.id, "new_version": item.version})
    yield _version(wanted, item)
    if item.version > MAX_VERSIONS:
        until = item.version - MAX_VERSIONS
        yield Query(DELETE_MEMORY_VERSIONS, {"id": item.id, "until": until})
    says_more = (item.key, item.content) != (known.key, known.content)
    due = wanted.at if says_more and store.embedding is not None else None
    if due is not None:
        yield Query(RENEW_VECTOR, _waiting(item, due))
    yield _count(wanted.workspace_id, wanted.store_id, 0, item.bytes - known.bytes, embed=due)
    return Written(item, charge=_charge(wanted, item) if due is not None else None)


def _charge(wanted: MemoryWrite, item: MemoryItem) -> RequestCharge | None:
    """Return the charge of a request for the vector that will be made of what it writes.

    The tokens are estimated: the provider counts them later, for many items together.
    """
    priced = wanted.embedding
    if priced is None:
        return None
    usage = Usage(estimate_tokens(embedded_text(item.key, item.content)))
    credits_ = priced.price.of(usage)
    charge = Charge(priced.charge_id, None, "model", priced.model, credits_, wanted.at, usage)
    return RequestCharge(wanted.workspace_id, wanted.writer.key_id, charge)


def _delete(wanted: MemoryWrite, store: MemoryStore, known: MemoryItem | None) -> Part[Written]:
    if known is None:
        raise MemoryItemNotFound
    yield Query(DELETE_MEMORY_ITEM, {"id": known.id})
    if store.embedding is not None:
        yield Query(DELETE_VECTOR, {"store": store.id, "item": known.id})
    if wanted.purged:
        yield Query(DELETE_MEMORY_VERSIONS, {"id": known.id, "until": known.version})
    else:
        yield Query(
            INSERT_MEMORY_VERSION,
            {
                "item_id": known.id,
                "version": known.version + 1,
                "store_id": known.store_id,
                "key": known.key,
                "content": None,
                "sha256": "",
                "at": wanted.at,
                "writer": to_json(wanted.writer),
                "redacted_at": None,
                "execution_id": wanted.writer.execution_id,
            },
        )
    yield _count(wanted.workspace_id, wanted.store_id, -1, -known.bytes, erasing=wanted.at)
    return Written(None)


def redact(
    workspace_id: str, store_id: str, item_id: str, number: int, at: int
) -> Transaction[MemoryVersion]:
    """Take the content out of a version that is not what the item holds.

    Raises MemoryStoreNotFound, MemoryItemNotFound, Conflict.
    """
    if not (yield Query(LOCK_MEMORY_STORE, {"workspace": workspace_id, "store": store_id})):
        raise MemoryStoreNotFound
    which = {"store": store_id, "item": item_id, "number": number}
    rows = yield Query(MEMORY_VERSION, which)
    if not rows:
        raise MemoryItemNotFound(f"The item {item_id} has no version {number}.")
    found = version_from(rows[0])
    items = yield Query(MEMORY_ITEM_BY_ID, {"store": store_id, "id": item_id})
    if items and item_from(items[0]).version == number:
        raise Conflict(
            f"Version {number} is what the item holds: write or delete the item, then redact it."
        )
    if found.content is None:
        return TransactionResult(found)
    yield Query(REDACT_MEMORY_VERSION, {"item": item_id, "number": number, "no_text": "", "at": at})
    yield _count(workspace_id, store_id, 0, 0, erasing=at)
    redacted = replace(found, content=None, sha256="", redacted_at=at)
    return TransactionResult(redacted, erased=True)


def _columns(item: MemoryItem) -> dict[str, object]:
    return {
        "key": item.key,
        "content": item.content,
        "metadata": to_json(item.metadata),
        "sha256": item.sha256,
        "bytes": item.bytes,
        "updated_at": item.updated_at,
        "writer": to_json(item.writer),
        "words": indexed(item.store_id, item.key, item.content),
    }


def _version(wanted: MemoryWrite, item: MemoryItem) -> Query:
    return Query(
        INSERT_MEMORY_VERSION,
        {
            "item_id": item.id,
            "version": item.version,
            "store_id": item.store_id,
            "key": item.key,
            "content": item.content,
            "sha256": item.sha256,
            "at": item.updated_at,
            "writer": to_json(wanted.writer),
            "redacted_at": None,
            "execution_id": wanted.writer.execution_id,
        },
    )


def _waiting(item: MemoryItem, due_at: int) -> dict[str, object]:
    """Return the parameters of an item that waits for its vector from now on."""
    return {
        "of_store": item.store_id,
        "of_item": item.id,
        "new_version": item.version,
        "due": due_at,
    }


def _count(
    workspace_id: str,
    store_id: str,
    items: int,
    size: int,
    *,
    erasing: int | None = None,
    embed: int | None = None,
) -> Query:
    return Query(
        COUNT_MEMORY,
        {
            "given_workspace": workspace_id,
            "given_store": store_id,
            "more_items": items,
            "more_bytes": size,
            "erasing": erasing,
            "embed": embed,
        },
    )


def _require_room(
    store: MemoryStore, plan: Plan, limits: MemoryLimits, items: int, size: int
) -> None:
    """Raise MemoryFull if the store cannot take this much more; less is always taken."""
    if items and store.items + items > limits.items:
        raise MemoryFull(
            f"The memory store {store.name!r} has {store.items} items; "
            f"the plan {plan.value} allows {limits.items}. Delete items first."
        )
    if size > 0 and store.bytes + size > limits.bytes:
        raise MemoryFull(
            f"The memory store {store.name!r} holds {store.bytes} bytes; with {size} more it would "
            f"pass the {limits.bytes} that the plan {plan.value} allows. Delete items first."
        )
