"""Memory stores: what is written, kept, found and erased, the same on both databases."""

import asyncio

import pytest

from outlast.model.error import (
    Conflict,
    MemoryArchived,
    MemoryFull,
    MemoryItemNotFound,
    MemoryStoreNotFound,
    PreconditionFailed,
)
from outlast.model.memory import MAX_VERSIONS, MemoryStore, MemoryWriter
from outlast.store.driver import Query, Transaction, TransactionResult
from outlast.store.memory import write as writing
from outlast.store.memory.rows import COUNT_MEMORY
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.shelf import WORKSPACE, Shelf, shelf_of

pytestmark = pytest.mark.anyio


async def test_what_is_written_is_read_listed_found_and_counted(shelf: Shelf) -> None:
    writer = MemoryWriter("exec_1", 3, "tc_1", "key_1")
    item = await shelf.put("customers/anna", "Likes tea.", metadata={"a": "b"}, writer=writer)
    again = await shelf.store.item(WORKSPACE, shelf.made.id, "customers/anna")
    assert again == item == await shelf.store.item(WORKSPACE, shelf.made.id, item.id)
    assert (item.version, item.metadata, item.writer, item.bytes) == (1, {"a": "b"}, writer, 10)
    assert await shelf.keys() == await shelf.find("TEA likes") == ["customers/anna"]
    assert await shelf.find("anna") == ["customers/anna"]
    assert await shelf.sums() == (1, 10)
    assert await shelf.versions(item.id) == ["Likes tea."]


async def test_a_second_write_of_a_key_is_the_items_next_version(shelf: Shelf) -> None:
    first = await shelf.put("a", "red", metadata={"x": "1"})
    second = await shelf.put("a", "blue sky")
    assert (second.id, second.version, second.metadata) == (first.id, 2, {"x": "1"})
    assert await shelf.versions(first.id) == ["blue sky", "red"]
    assert await shelf.find("red") == []
    assert await shelf.find("blue") == ["a"]
    assert await shelf.sums() == (1, 8)


QUERIES = {
    "coffee": {"english", "mixed"},
    "COFFEE, please!": {"english"},
    "coffee kaffee": {"mixed"},
    "cafe": {"french"},
    "CAFÉ": {"french"},
    "cafe\u0301": {"french"},
    "strasse": {"german"},
    "STRASSE": {"german"},
    "東京": {"japanese"},
    "京都": {"japanese"},
    "都": {"japanese"},
    "大阪": set(),
    "ラーメン": {"japanese"},
    "ｶﾞﾗｽ": {"japanese"},
    "قهوة": {"arabic"},
    "قَهْوَة": {"arabic"},
    "서울": {"korean"},
    "हिन्दी": {"hindi"},
    "🎉": {"emoji"},
    "👍🏽": {"emoji"},
    "user@example.com": {"mail"},
    "example": {"mail"},
    "3.14": {"mail"},
    "NEAR": {"syntax"},
    "AND OR NOT": {"syntax"},
    'quo"te': {"syntax"},
    "words:coffee": set(),
    "coff*": set(),
    "-coffee": {"english", "mixed"},
    "^coffee": {"english", "mixed"},
    "NEAR(coffee please, 5)": set(),
    "(coffee": {"english", "mixed"},
    "o'clock": {"syntax"},
    "\\": set(),
    '"': set(),
    '"""': set(),
    "*": set(),
    "'; DROP TABLE memory_items; --": set(),
    "a\0b": {"syntax"},
    "\0": set(),
    "\ud83d": set(),
    "&|!<->:*": set(),
}
TEXTS = {
    "english": "Coffee, please",
    "mixed": "kaffee coffee",
    "french": "Un café crème",
    "german": "Lange Straße 5",
    "japanese": "東京都のラーメンとガラス",
    "arabic": "قهوة عربية",
    "korean": "서울에서 만나요",
    "hindi": "हिन्दी में",
    "emoji": "party 🎉👍",
    "mail": "Write to user@example.com about 3.14",
    "syntax": "near and or not quo te a b o clock",
}


async def test_any_text_is_a_query_and_finds_the_items_that_have_all_its_words(
    shelf: Shelf, store: Store, clock: FakeClock
) -> None:
    other = await shelf_of(store, clock)
    for key, text in TEXTS.items():
        await shelf.put(key, text)
        await other.put(f"other-{key}", text)
    for query, expected in QUERIES.items():
        assert set(await shelf.find(query)) == expected, query
        if expected:  # as many as are wanted, so the newest items are enough
            assert set(await shelf.find(query, limit=len(expected))) == expected, query
    everything = set(TEXTS)
    assert set(await shelf.find("")) == set(await shelf.find(" \n\t ")) == everything
    long = "coffee " * 1400
    assert set(await shelf.find(long)) == {"english", "mixed"}
    assert await shelf.find(" ".join(f"w{number}" for number in range(2000))) == []
    assert await shelf.find("x" * 10_000) == []


async def test_found_items_are_the_newest_first_and_of_equal_age_in_a_fixed_order(
    shelf: Shelf,
) -> None:
    for key in ("a", "b"):
        await shelf.put(key, "same")
    shelf.clock.advance(1)
    for key in ("c", "a"):
        await shelf.put(key, "same")
    for query in ("same", ""):
        assert await shelf.find(query) == ["c", "a", "b"]
        assert await shelf.find(query, limit=2) == ["c", "a"]


async def test_words_of_old_items_and_of_many_are_found_in_the_same_order(shelf: Shelf) -> None:
    """The newest 200 items are looked at first."""
    keys = [f"{'ab'[number % 2]}/{number}" for number in range(230)]
    for number, key in enumerate(keys):
        shelf.clock.advance(1)
        await shelf.put(key, f"many every{number % 23} old{number // 100}")
    keys.reverse()
    for query, having in {
        "many": keys,
        "every7": [key for key in keys if int(key[2:]) % 23 == 7],
        "every7 old0": [key for key in keys if int(key[2:]) in (7, 30, 53, 76, 99)],
        "old0": keys[130:],
        "many old2 every1": [key for key in keys if int(key[2:]) == 208],
    }.items():
        for prefix in ("", "b/"):
            expected = [key for key in having if key.startswith(prefix)]
            for limit in (1, 5, 9, 50):
                assert await shelf.find(query, prefix, limit) == expected[:limit]


async def test_a_prefix_bounds_lists_and_searches_whatever_follows_it(shelf: Shelf) -> None:
    keys = ["a", "a/1", "a/2", "a/é", "a/\U0001f600", "a0", "ab/1", "A/1", "b%_/1"]
    for key in keys:
        await shelf.put(key, "text")
    for prefix in ("", "a", "a/", "a/1", "A", "b%", "_", "c"):
        expected = sorted((k for k in keys if k.startswith(prefix)), key=str.encode)
        assert await shelf.keys(prefix) == expected
        assert sorted(await shelf.find("text", prefix), key=str.encode) == expected
        assert sorted(await shelf.find("", prefix), key=str.encode) == expected


async def test_pages_are_stable_while_items_are_added_and_removed(shelf: Shelf) -> None:
    for number in range(0, 10, 2):
        await shelf.put(f"k{number}", "x")
    seen = (await shelf.keys(limit=2))[:2]
    await shelf.put("k1", "x")  # before the cursor
    await shelf.put("k5", "x")
    await shelf.remove(seen[-1])
    while page := await shelf.keys(after=seen[-1], limit=2):
        seen += page[:2]
    assert seen == ["k0", "k2", "k4", "k5", "k6", "k8"]


async def test_a_hundred_writers_of_one_key_leave_the_last_one_and_every_version(
    shelf: Shelf,
) -> None:
    await asyncio.gather(*(shelf.put("k", f"by {number}") for number in range(100)))
    item = await shelf.store.item(WORKSPACE, shelf.made.id, "k")
    versions = await shelf.versions(item.id)
    assert item.version == len(versions) == 100
    assert {*versions} == {f"by {number}" for number in range(100)}
    assert versions[0] == item.content
    assert await shelf.sums() == (1, item.bytes)
    assert await shelf.find(item.content) == ["k"]


async def test_a_condition_is_met_by_the_digest_or_by_what_is_there_already(shelf: Shelf) -> None:
    first = await shelf.put("k", "one")
    second = await shelf.put("k", "two", matching=(first.sha256,))
    with pytest.raises(PreconditionFailed):
        await shelf.put("k", "three", matching=(first.sha256, "other"))
    assert await shelf.put("k", "two", matching=(first.sha256,)) == second
    with pytest.raises(PreconditionFailed):
        await shelf.put("new", "x", matching=("*",))
    with pytest.raises(PreconditionFailed):
        await shelf.put("k", "x", absent=True)
    with pytest.raises(PreconditionFailed):
        await shelf.remove("k", matching=(first.sha256,))
    assert (await shelf.put("new", "x", absent=True)).version == 1
    assert (await shelf.put("k", "x", matching=("*",))).version == 3


async def test_a_renamed_item_keeps_its_id_and_is_found_by_its_new_key(shelf: Shelf) -> None:
    item = await shelf.put("old/name", "text")
    await shelf.put("taken", "x")
    with pytest.raises(Conflict):
        await shelf.store.write(shelf.wanted("old/name", new_key="taken", existing=True))
    renamed = shelf.wanted("old/name", new_key="new/place", existing=True)
    found = (await shelf.store.write(renamed)).item
    assert found is not None
    assert (found.id, found.key, found.version) == (item.id, "new/place", 2)
    assert await shelf.find("old") == []
    assert await shelf.find("place") == ["new/place"]
    unchanged = shelf.wanted("new/place", "text", existing=True)
    assert (await shelf.store.write(unchanged)).item == found
    with pytest.raises(MemoryItemNotFound):
        await shelf.store.write(shelf.wanted("old/name", "text", existing=True))


async def test_a_deleted_item_is_found_no_more_and_its_versions_tell_who_deleted_it(
    shelf: Shelf,
) -> None:
    item = await shelf.put("k", "zebra")
    await shelf.remove("k")
    assert await shelf.find("zebra") == await shelf.find("") == await shelf.keys() == []
    assert await shelf.versions(item.id) == [None, "zebra"]
    assert await shelf.sums() == (0, 0)
    with pytest.raises(MemoryItemNotFound):
        await shelf.remove("k")
    again = await shelf.put("k", "new")
    assert (again.version, again.id != item.id) == (1, True)


async def test_an_item_keeps_its_newest_versions(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_VERSIONS == 1000
    monkeypatch.setattr(writing, "MAX_VERSIONS", 3)
    items = [await shelf.put("k", str(number)) for number in range(6)]
    assert await shelf.versions(items[0].id) == ["5", "4", "3"]


async def test_a_full_store_takes_nothing_more_until_there_is_room(
    shelf: Shelf, store: Store
) -> None:
    def almost_full(items: int, size: int) -> Transaction[None]:
        given = {"given_workspace": WORKSPACE, "given_store": shelf.made.id}
        sums = {"more_items": items, "more_bytes": size, "erasing": None, "embed": None}
        yield Query(COUNT_MEMORY, given | sums)
        return TransactionResult(None)

    await shelf.put("k", "12345")
    await store.driver.write(lambda: almost_full(9998, 64 * 1024 * 1024 - 10))
    with pytest.raises(MemoryFull):
        await shelf.put("large", "123456")
    await shelf.put("last", "12345")
    with pytest.raises(MemoryFull):
        await shelf.put("more", "")
    with pytest.raises(MemoryFull):
        await shelf.put("k", "123456")
    await shelf.put("k", "1234")
    await shelf.remove("last")
    await shelf.put("more", "123456")


async def test_an_archived_store_is_read_and_not_written(shelf: Shelf, store: Store) -> None:
    await shelf.put("k", "text")
    made = shelf.made
    archived = MemoryStore(made.id, WORKSPACE, "notes", 1, 2, archived_at=2)
    await store.memories.update(archived)
    for move in (shelf.put("k", "x"), shelf.put("new", "x"), shelf.remove("k")):
        with pytest.raises(MemoryArchived):
            await move
    assert await shelf.find("text") == ["k"]


async def test_another_workspaces_store_is_not_there(shelf: Shelf, store: Store) -> None:
    await shelf.put("k", "text")
    other, memories = "ws_2", store.memories
    for read in (
        memories.get(other, shelf.made.id),
        memories.item(other, shelf.made.id, "k"),
        memories.items(other, shelf.made.id, "", "", 5),
        memories.find(other, (shelf.made.id,), ["text"], "", 5),
        memories.versions(other, shelf.made.id, "item_1", 5, 5),
        memories.delete(other, shelf.made.id, 1),
    ):
        with pytest.raises(MemoryStoreNotFound):
            await read
    assert await memories.get_all(other, [shelf.made.id]) == [None]
