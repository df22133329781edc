"""Memory stores with an embedding model: what waits for vectors, and what is found by them."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from outlast.engine.maintenance.pending_vectors import EMBED
from outlast.model.embedding import MAX_EMBEDDED, Found, SearchMode
from outlast.model.error import InvalidField, MemoryStoreNotFound, ModelUnavailable, Upstream
from outlast.model.execution import ToolStep
from outlast.model.memory import EmbeddingState, MemoryAccess
from outlast.model.price import ModelPrice, Prices
from outlast.services.memory import ItemWrite, Search, StoreChanges
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.embeddings import MEANINGS, EmbeddingProvider
from tests.support.engine import start_request
from tests.support.library import Library
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call, spec
from tests.support.waiting import BOUND, until_found

pytestmark = pytest.mark.anyio

MODEL = "openai-embeddings:small"
TEXT, SEMANTIC, HYBRID = SearchMode.TEXT, SearchMode.SEMANTIC, SearchMode.HYBRID


async def test_items_are_found_by_their_words_at_once_and_by_meaning_once_embedded(
    library: Library, provider: EmbeddingProvider
) -> None:
    await library.put("rex", "A hound that barks")
    await library.put("anna", "Eats tofu")
    assert await library.state() == EmbeddingState(MODEL, None, 2, None)
    assert await library.keys("hound") == ["rex"]
    assert await library.keys("which puppy", SEMANTIC) == []
    await library.embed()
    assert await library.state() == EmbeddingState(MODEL, len(MEANINGS) + 1, 0, None)
    assert provider.texts[-2:] == ["rex\nA hound that barks", "anna\nEats tofu"]
    assert provider.requests[-1]["model"] == "small"
    found = await library.search("which puppy", SEMANTIC)
    assert [one.item.key for one in found.items] == ["rex", "anna"]
    assert [one.by for one in found.items] == [(SEMANTIC,), (SEMANTIC,)]
    best, other = (one.similarity for one in found.items)
    assert best == pytest.approx(1.0)
    assert other is not None
    assert 0 < other < 0.2
    assert await library.keys("which puppy", TEXT) == []
    assert await library.keys("which puppy", SEMANTIC, limit=1) == ["rex"]
    assert await library.keys("which puppy", SEMANTIC, prefix="an") == ["anna"]
    assert await library.keys("which puppy", SEMANTIC, prefix="x") == []


async def test_a_hybrid_search_joins_both_rankings_and_names_who_found_what(
    library: Library,
) -> None:
    await library.put("bill", "The invoice of March")
    await library.put("rule", "Never pays in advance")
    await library.put("march", "A march in spring")
    await library.embed()
    found = await library.search("March billing")
    assert found.mode is HYBRID
    assert [one.item.key for one in found.items][:2] == ["rule", "bill"] or [
        one.item.key for one in found.items
    ][:2] == ["bill", "rule"]
    found = await library.search("march")
    by = {one.item.key: one.by for one in found.items}
    assert by == {"bill": (TEXT, SEMANTIC), "march": (TEXT, SEMANTIC), "rule": (SEMANTIC,)}
    assert [one.item.key for one in found.items][-1] == "rule"
    blank = await library.search("  ")
    assert (blank.mode, [one.item.key for one in blank.items]) == (TEXT, ["march", "rule", "bill"])


async def test_a_crash_before_the_vector_is_made_loses_nothing(
    database: Database, opened: Any, provider: EmbeddingProvider
) -> None:
    library = await opened()
    await library.put("rex", "A hound")
    await library.core.close()
    assert provider.requests == []
    again = await opened(after=library)
    assert (await again.state()).pending == 1
    await again.embed()
    assert await again.keys("puppy", SEMANTIC) == ["rex"]


async def test_what_is_written_is_embedded_within_a_second_or_so(opened: Any) -> None:
    library = await opened(real_time=True)
    await library.put("rex", "A hound")

    async def found() -> bool:
        keys = await library.keys("puppy", SEMANTIC)
        return bool(keys == ["rex"])

    began = asyncio.get_running_loop().time()
    await until_found(found)
    assert asyncio.get_running_loop().time() - began < BOUND / 4


async def test_a_model_that_fails_is_tried_again_with_pauses_and_the_store_says_so(
    library: Library, provider: EmbeddingProvider
) -> None:
    provider.status = 500
    await library.put("rex", "A hound")
    for tries in range(1, 5):
        await library.embed()
        await library.embed()
        assert len(provider.requests) == tries
        state = await library.state()
        assert state.pending == tries
        assert state.error is not None
        assert "500" in state.error
        assert "hound" not in state.error
        await library.put(f"more{tries}", "A car")
        await library.embed()
        assert len(provider.requests) == tries, "a write does not shorten the pause"
        library.clock.advance(2**tries)
    provider.status = 200
    await library.embed()
    assert await library.state() == EmbeddingState(MODEL, len(MEANINGS) + 1, 0, None)
    assert (await library.keys("puppy", SEMANTIC))[0] == "rex"


@pytest.mark.parametrize("status", [401, 404, 429, 503])
async def test_every_refusal_of_the_model_is_tried_again(
    library: Library, provider: EmbeddingProvider, status: int
) -> None:
    provider.status = status
    await library.put("rex", "A hound")
    await library.embed()
    assert (await library.state()).pending == 1
    provider.status = 200
    library.clock.advance(2)
    await library.embed()
    assert (await library.state()).pending == 0


async def test_a_text_that_changes_while_it_is_embedded_gets_no_vector_of_the_old_one(
    library: Library, provider: EmbeddingProvider
) -> None:
    provider.gate = asyncio.Event()
    await library.put("x1", "A hound")
    await library.put("gone", "A dog")
    running = asyncio.create_task(library.embed(), name="embed")
    await provider.arrived.wait()
    await library.put("x1", "A car")
    await library.memory.delete_item(library.caller, library.store.id, "gone")
    gate, provider.gate = provider.gate, None
    gate.set()
    async with asyncio.timeout(BOUND):
        await running
    await library.embed()
    assert (await library.state()).pending == 0
    found = await library.search("vehicle", SEMANTIC)
    assert [one.item.key for one in found.items] == ["x1"]
    assert found.items[0].similarity == pytest.approx(1.0)


async def test_an_item_that_the_model_refuses_holds_up_no_other_and_is_tried_shorter(
    library: Library, provider: EmbeddingProvider
) -> None:
    provider.refuses = lambda text: len(text) > 3000 or "never" in text
    await library.put("long", "hound " * 900)
    await library.put("bad", "never")
    for number in range(3):
        await library.put(f"k{number}", "A car")
    await library.embed()
    state = await library.state()
    assert state.pending == 1
    assert state.error is not None
    assert set(await library.keys("vehicle hound", SEMANTIC)) == {"long", "k0", "k1", "k2"}
    await library.put("new", "A city")
    await library.embed()
    assert (await library.state()).pending == 1, "the refused one delays no new one"
    provider.refuses = lambda _: False
    library.clock.advance(3601)
    await library.embed()
    assert await library.state() == EmbeddingState(MODEL, len(MEANINGS) + 1, 0, None)


async def test_a_model_that_refuses_every_item_is_not_sent_each_of_them(
    library: Library, provider: EmbeddingProvider
) -> None:
    provider.refuses = lambda _: True
    for number in range(40):
        await library.put(f"k{number}", "A car")
    await library.embed()
    assert len(provider.requests) <= 4
    assert (await library.state()).pending == 40


async def test_vectors_of_other_dimensions_are_refused(
    library: Library, provider: EmbeddingProvider
) -> None:
    await library.put("rex", "A hound")
    await library.embed()
    provider.more = 3
    await library.put("anna", "Eats tofu")
    await library.embed()
    state = await library.state()
    assert (state.pending, state.dimensions) == (1, len(MEANINGS) + 1)
    assert state.error is not None
    assert "dimensions" in state.error
    with pytest.raises(ModelUnavailable, match="dimensions"):
        await library.search("puppy", SEMANTIC)
    found = await library.search("tofu")
    assert [one.item.key for one in found.items] == ["anna"]
    assert found.warning is not None


async def test_without_a_vector_of_the_query_words_find_and_a_semantic_search_fails(
    library: Library, provider: EmbeddingProvider
) -> None:
    await library.put("rex", "A hound")
    await library.embed()
    provider.status = 503
    found = await library.search("hound")
    assert ([one.item.key for one in found.items], found.mode) == (["rex"], HYBRID)
    assert found.items[0].by == (TEXT,)
    assert found.warning is not None
    assert "503" in found.warning
    with pytest.raises(Upstream):
        await library.search("hound", SEMANTIC)
    assert (await library.search("hound", TEXT)).warning is None


async def test_only_what_changes_the_text_is_embedded_again(
    library: Library, provider: EmbeddingProvider
) -> None:
    await library.put("rex", "A hound")
    await library.embed()
    await library.put("rex", "A hound", metadata={"a": "b"})
    assert (await library.state()).pending == 0
    await library.memory.change(
        library.caller, library.store.id, "rex", ItemWrite(new_key="berlin")
    )
    await library.embed()
    assert provider.texts == ["rex\nA hound", "berlin\nA hound"]


async def test_long_texts_are_cut_and_many_are_sent_in_batches(
    library: Library, provider: EmbeddingProvider
) -> None:
    await library.put("long", "é" * 51_200)
    for number in range(150):
        await library.put(f"k{number}", "A car")
    await library.embed()
    assert (await library.state()).pending == 0
    assert max(map(len, provider.texts)) == MAX_EMBEDDED
    assert len(provider.requests) == 3


async def test_an_archived_store_is_searched_by_meaning_and_still_embedded(
    library: Library,
) -> None:
    await library.put("rex", "A hound")
    await library.memory.update(library.caller, library.store.id, StoreChanges(archived=True))
    await library.embed()
    assert await library.keys("puppy", SEMANTIC) == ["rex"]


async def test_a_store_of_another_workspace_is_not_there(library: Library) -> None:
    stranger = await owner(library.core, "others")
    with pytest.raises(MemoryStoreNotFound):
        await library.memory.search(stranger, library.store.id, Search("x", mode=SEMANTIC))


async def test_a_store_without_a_model_is_searched_by_words_alone(library: Library) -> None:
    plain, _ = await library.memory.create(library.caller, "plain")
    for mode in (SEMANTIC, HYBRID):
        with pytest.raises(InvalidField, match="embedding model"):
            await library.memory.search(library.caller, plain.id, Search("x", mode=mode))
    found = await library.memory.search(library.caller, plain.id, Search("x"))
    assert found == Found((), TEXT)


@pytest.mark.parametrize(
    "model", ["small", "openai-embeddings:", "nowhere:small", "local:other", ""]
)
async def test_a_model_that_cannot_be_is_refused_when_the_store_is_created(
    library: Library, model: str
) -> None:
    with pytest.raises(InvalidField, match="embedding"):
        await library.memory.create(library.caller, "other", embedding=model)


async def test_an_agents_write_is_found_by_meaning_by_the_next_one(
    opened: Any, provider: EmbeddingProvider
) -> None:
    library = await opened(
        [call(1, "memory_write", key="rex", content="A hound")],
        ["Noted"],
        [call(2, "memory_search", query="which puppy")],
        ["Rex"],
        [call(3, "memory_search", query="which puppy", mode="text")],
        ["None"],
        [call(4, "memory_search", query="which puppy", mode="semantic")],
        ["None"],
    )
    executions = library.core.services.executions

    async def run() -> Any:
        stores = (MemoryAccess(library.store.id),)
        request = replace(start_request(), memory_stores=stores)
        started = await executions.start(library.caller, "agent", request)
        async with asyncio.timeout(BOUND):
            view = await executions.rest(library.caller, started.execution.id)
        return next(step for step in view.steps if isinstance(step, ToolStep))

    await run()
    await library.embed()
    found = (await run()).result
    assert [item["content"] for item in found["items"]] == ["A hound"]
    assert (await run()).result == {"items": []}
    provider.status = 500
    failed = await run()
    assert failed.is_error
    assert "500" in str(failed.result)


async def test_a_tools_search_is_charged_with_what_its_query_costs(
    database: Database, provider: EmbeddingProvider
) -> None:
    queries = ({"mode": "hybrid"}, {"mode": "text"}, {"mode": "semantic"})
    calls = [[call(n, "memory_search", query="puppy", **one)] for n, one in enumerate(queries)]
    models = NamedModels({"actor": FakeModel(by_turn(*calls, ["Done"]))})
    prices = Prices({MODEL: ModelPrice(3, 0, 0, 0)}, {"memory_search": 100})
    async with database.core(models=models, clock=FakeClock(), prices=prices) as core:
        await core.maintenance.hold(EMBED)
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        store, _ = await core.services.memory.create(caller, "notes", embedding=MODEL)
        await core.services.memory.write(caller, store.id, "rex", ItemWrite("A hound"))
        await core.maintenance.run(EMBED)
        request = start_request(memory_stores=(MemoryAccess(store.id),))
        started = await core.services.executions.start(caller, "agent", request)
        async with asyncio.timeout(BOUND):
            done = await core.services.executions.rest(caller, started.execution.id)
    charged = database.rows("SELECT credits FROM charges WHERE kind = 'tool' ORDER BY step")
    assert charged == [(100 + 7 * 3,), (100,), (100 + 7 * 3,)]
    of_run = "SELECT sum(credits) FROM charges WHERE execution_id <> ''"
    assert database.rows(of_run) == [(done.execution.credits,)]
