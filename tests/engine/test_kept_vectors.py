"""Vectors that a process keeps between searches: what is found is what the database has."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from outlast.agents.embeddings.vectors import DIMENSION_BYTES
from outlast.agents.memory_search import MemorySearch, Search
from outlast.model.embedding import SearchMode
from outlast.model.error import MemoryItemNotFound
from outlast.services.memory import ItemWrite
from outlast.store.memory import vectors
from outlast.store.memory.vectors import Vectors
from tests.support.embeddings import MEANINGS
from tests.support.library import Library

pytestmark = pytest.mark.anyio

WORDS = [word for meaning in MEANINGS for word in sorted(meaning)]
ROOM = 1 << 20


class CountedVectors(Vectors):
    """Counts the vectors of each read, and lets a test write just before one."""

    def __init__(self, library: Library) -> None:
        super().__init__(library.core.store.driver)
        self.read: list[int] = []
        self.before: Callable[[], Awaitable[None]] | None = None

    async def changed(self, store_id: str, since: int | None) -> dict[str, bytes | None]:
        before, self.before = self.before, None
        if before is not None:
            await before()
        found = await super().changed(store_id, since)
        self.read.append(len(found))
        return found


def process(library: Library, kept_bytes: int = ROOM) -> tuple[MemorySearch, CountedVectors]:
    """The search of a process that keeps vectors and learns of no write."""
    counted = CountedVectors(library)
    core = library.core
    return MemorySearch(core.store.memories, counted, core.embedders, kept_bytes), counted


async def found(search: MemorySearch, library: Library, prefix: str = "") -> dict[str, float]:
    """All items by key, with their similarity."""
    wanted = Search("a dog drives to a meal", prefix, 50, SearchMode.SEMANTIC)
    items = (await search.search(library.caller.workspace_id, [library.store.id], wanted)).items
    return {one.item.key: one.similarity or 0.0 for one in items}


@pytest.mark.parametrize("seed", range(2))
async def test_a_process_that_keeps_vectors_finds_what_one_does_that_reads_them_all(
    library: Library, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "_PAGE", 3)
    chance = random.Random(seed)
    search, counted = process(library)
    whole, _ = process(library, 0)

    async def move() -> None:
        key = f"{chance.choice('ab')}/{chance.randrange(9)}"
        match chance.randrange(9):
            case 0 | 1 | 2 | 3:
                await library.put(key, " ".join(chance.choices(WORDS, k=3)))
            case 4:
                try:
                    await library.memory.delete_item(library.caller, library.store.id, key)
                except MemoryItemNotFound:
                    await library.put(key, chance.choice(WORDS), metadata={"a": "b"})
            case 5:
                counted.before = move
            case _:
                await library.embed()

    for _ in range(30):
        await move()
        await found(search, library)  # with a write in the middle, perhaps
        counted.before = None
        assert await found(search, library) == await found(whole, library)
        assert await found(search, library, "a/") == await found(whole, library, "a/")


async def test_only_what_has_changed_is_read_and_once_for_all(library: Library) -> None:
    search, counted = process(library)
    for number in range(20):
        await library.put(f"k{number}", chr(97 + number))
    await library.embed()
    all_at_once = await asyncio.gather(*(found(search, library) for _ in range(8)))
    assert [len(one) for one in all_at_once] == [20] * 8
    assert counted.read == [20]
    await library.put("k3", "A hound")
    assert len(await found(search, library)) == 19, "its vector is that of the text before"
    await library.embed()
    assert max(answer := await found(search, library), key=lambda key: answer[key]) == "k3"
    assert counted.read == [20, 1, 1]
    await library.put("k3", "A hound", metadata={"a": "b"})
    await found(search, library)
    assert counted.read == [20, 1, 1]
    await library.memory.delete_item(library.caller, library.store.id, "k3")
    assert len(await found(search, library)) == 19
    assert counted.read == [20, 1, 1, 19]


async def test_what_was_searched_last_is_kept_as_far_as_there_is_room(library: Library) -> None:
    first, memory = library.store, library.memory
    others = [
        (await memory.create(library.caller, name, embedding="openai-embeddings:small"))[0]
        for name in ("second", "large")
    ]
    for store, count in ((first, 2), (others[0], 2), (others[1], 9)):
        for number in range(count):
            await memory.write(library.caller, store.id, f"k{number}", ItemWrite("A car"))
    await library.embed()
    small = 2 * ((len(MEANINGS) + 1) * DIMENSION_BYTES + 100)
    search, counted = process(library, 2 * small)
    wanted = Search("puppy", mode=SearchMode.SEMANTIC)

    async def read(store_id: str) -> int:
        before = len(counted.read)
        await search.search(library.caller.workspace_id, [store_id], wanted)
        return sum(counted.read[before:])

    second, large = (store.id for store in others)
    assert [await read(one) for one in (first.id, second, first.id, second)] == [2, 2, 0, 0]
    assert [await read(one) for one in (large, large, first.id)] == [9, 9, 0], "too large to keep"
    smaller, counted = process(library, small)
    search = smaller
    assert [await read(one) for one in (first.id, second, second, first.id)] == [2, 2, 0, 2]
