"""Of what is purged or redacted in a memory store, no word is left, the same on both databases."""

import pytest

from outlast.model.error import Conflict, MemoryItemNotFound, MemoryStoreNotFound
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import SQLITE, Database
from tests.support.shelf import WORKSPACE, Shelf, shelf_of

pytestmark = pytest.mark.anyio


def left_of(word: str, database: Database) -> bool:
    """Whether a word is left in any file of a SQLite database, or in any row of Postgres."""
    if database.kind == SQLITE:
        database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return any(
            word.encode() in file.read_bytes()
            for file in database.folder.iterdir()
            if file.is_file() and ".db" in file.name
        )
    found = database.rows(
        "SELECT 1 FROM memory_items i, memory_versions v WHERE "
        f"i.content || i.words LIKE '%{word}%' OR v.content LIKE '%{word}%'"
    )
    return bool(found)


async def erased(store: Store, limit: int = 2) -> None:
    while await store.memories.erase(limit):
        pass


@pytest.mark.parametrize("whole", [False, True], ids=["item", "store"])
async def test_no_word_of_what_was_purged_is_left(
    shelf: Shelf, store: Store, clock: FakeClock, database: Database, whole: bool
) -> None:
    kept = await shelf_of(store, clock)
    for number in range(5):
        await kept.put(f"kept{number}", "walrus stays")
        await shelf.put(f"k{number}", f"narwhal {number}")
        await shelf.put(f"k{number}", f"narwhal again {number}")
    assert left_of("narwhal", database)
    if whole:
        await store.memories.delete(WORKSPACE, shelf.made.id, clock.now())
        with pytest.raises(MemoryStoreNotFound):
            await shelf.find("narwhal")
    else:
        for number in range(5):
            await shelf.remove(f"k{number}", purged=True)
    await erased(store)
    assert not left_of("narwhal", database)
    assert await kept.find("walrus", limit=9) == [f"kept{number}" for number in (4, 3, 2, 1, 0)]
    assert await store.memories.erase(2) == 0


async def test_of_a_redacted_version_the_row_is_left_and_no_word(
    shelf: Shelf, store: Store, clock: FakeClock, database: Database
) -> None:
    item = await shelf.put("k", "narwhal one")
    await shelf.put("k", "walrus")
    await shelf.remove("k")
    await shelf.put("other", "narwhal two")
    await shelf.put("other", "walrus too")
    memories, at = store.memories, clock.now()
    before = await memories.versions(WORKSPACE, shelf.made.id, item.id, 9, 9)
    redacted = await memories.redact(WORKSPACE, shelf.made.id, item.id, 1, at)
    assert (redacted.content, redacted.sha256, redacted.redacted_at) == (None, "", at)
    after = await memories.versions(WORKSPACE, shelf.made.id, item.id, 9, 9)
    assert after == [*before[:2], redacted]
    assert [one.redacted_at for one in after] == [None, None, at]
    clock.advance(5)
    again = await memories.redact(WORKSPACE, shelf.made.id, item.id, 1, clock.now())
    assert again == redacted, "once is enough"
    assert left_of("narwhal", database)
    other = await memories.item(WORKSPACE, shelf.made.id, "other")
    await memories.redact(WORKSPACE, shelf.made.id, other.id, 1, clock.now())
    await erased(store)
    assert not left_of("narwhal", database)
    assert await shelf.find("walrus too") == ["other"]
    assert await shelf.sums() == (1, 10)


async def test_what_an_item_holds_and_what_is_not_there_is_not_redacted(
    shelf: Shelf, store: Store, clock: FakeClock
) -> None:
    item = await shelf.put("k", "text")
    memories, now = store.memories, clock.now()
    with pytest.raises(Conflict, match="write or delete the item"):
        await memories.redact(WORKSPACE, shelf.made.id, item.id, 1, now)
    for workspace, of, number, error in (
        (WORKSPACE, item.id, 2, MemoryItemNotFound),
        (WORKSPACE, "item_unknown", 1, MemoryItemNotFound),
        ("ws_other", item.id, 1, MemoryStoreNotFound),
    ):
        with pytest.raises(error):
            await memories.redact(workspace, shelf.made.id, of, number, now)
    other = await shelf_of(store, clock)
    with pytest.raises(MemoryItemNotFound):
        await memories.redact(WORKSPACE, other.made.id, item.id, 1, now)
    await shelf.remove("k")
    deleted = await memories.redact(WORKSPACE, shelf.made.id, item.id, 2, now)
    assert (deleted.content, deleted.redacted_at) == (None, None), "there is nothing to take out"
    await memories.redact(WORKSPACE, shelf.made.id, item.id, 1, now)
