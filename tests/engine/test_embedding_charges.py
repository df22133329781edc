"""What the vectors of memory stores cost, and who is charged for them."""

import asyncio
from dataclasses import replace

import pytest

from outlast.engine.maintenance.pending_vectors import EMBED
from outlast.model.budget import Bounds
from outlast.model.consumption import Bucket, Grouping
from outlast.model.embedding import SearchMode, embedded_text
from outlast.model.execution import Budget
from outlast.model.memory import Access, MemoryAccess, MemoryStore
from outlast.model.price import NANO, ModelPrice, Prices
from outlast.model.usage import estimate_tokens
from outlast.model.workspace import MemoryLimits, Plan
from outlast.services.budgets import BudgetPage, SetBudget
from outlast.services.memory import ItemWrite, Search
from outlast.services.usage import UsageRequest
from outlast.store.memory.store import Memories
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import SQLITE, Database
from tests.support.embeddings import EmbeddingProvider
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call, spec
from tests.support.waiting import BOUND

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]

MODEL = "openai-embeddings:small"
PRICES = Prices({MODEL: ModelPrice(3, 0, 0, 0)}, {"memory_write": 100})
CONTENT = "A hound that barks at night"
ESTIMATED = estimate_tokens(embedded_text("rex", CONTENT))
OF_REQUESTS = "SELECT name, input_tokens, credits FROM charges WHERE execution_id = '' ORDER BY id"


async def test_a_tools_write_is_charged_with_its_vector_where_it_gets_a_new_one(
    database: Database, provider: EmbeddingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = [("rex", CONTENT), ("rex", CONTENT), ("too many", CONTENT), ("rex", "A cat")]
    calls = [[call(n, "memory_write", key=k, content=c)] for n, (k, c) in enumerate(writes)]
    calls.append([call(9, "memory_delete", key="rex")])
    models = NamedModels({"actor": FakeModel(by_turn(*calls, ["Done"]))})
    async with database.core(models=models, clock=FakeClock(), prices=PRICES) as core:
        one_item = dict.fromkeys(Plan, MemoryLimits(items=1))
        monkeypatch.setattr(core.store.memories, "limits", one_item)
        await core.maintenance.hold(EMBED)
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        store, _ = await core.services.memory.create(caller, "notes", embedding=MODEL)
        request = start_request(memory_stores=(MemoryAccess(store.id, Access.READ_WRITE),))
        started = await core.services.executions.start(caller, "agent", request)
        async with asyncio.timeout(BOUND):
            done = await core.services.executions.rest(caller, started.execution.id)
    charged = database.rows("SELECT credits FROM charges WHERE kind = 'tool' ORDER BY step")
    of_cat = estimate_tokens(embedded_text("rex", "A cat"))
    assert charged == [(100 + 3 * ESTIMATED,), (100,), (100,), (100 + 3 * of_cat,)]
    assert database.rows("SELECT sum(credits) FROM charges") == [(done.execution.credits,)]
    assert database.rows(OF_REQUESTS) == []


async def test_requests_are_charged_to_the_key_and_spend_from_its_budget(
    database: Database, provider: EmbeddingProvider
) -> None:
    models = NamedModels({"actor": FakeModel(by_turn(["Done"]))})
    async with database.core(models=models, clock=FakeClock(), prices=PRICES) as core:
        await core.maintenance.hold(EMBED)
        memory, caller = core.services.memory, await owner(core)
        bounds = SetBudget(Bounds(tokens=1_000_000))
        for name in (caller.key_id or "", caller.workspace_id):
            await core.services.budgets.set(caller, name, bounds)
        store, _ = await memory.create(caller, "notes", embedding=MODEL)
        plain, _ = await memory.create(caller, "words")
        for content in (CONTENT, CONTENT):
            await memory.write(caller, store.id, "rex", ItemWrite(content))
        await memory.write(caller, store.id, "rex", ItemWrite(metadata={"a": 1}))
        await memory.write(caller, plain.id, "rex", ItemWrite(CONTENT))
        await core.maintenance.run(EMBED)
        await memory.search(caller, store.id, Search("puppy", mode=SearchMode.SEMANTIC))
        await memory.search(caller, store.id, Search("puppy", mode=SearchMode.TEXT))
        renamed = ItemWrite(new_key="rexy")
        await memory.change(caller, store.id, "rex", renamed)
        of_rename = estimate_tokens(embedded_text("rexy", CONTENT))
        tokens = [ESTIMATED, 7, of_rename]
        assert database.rows(OF_REQUESTS) == [(MODEL, n, 3 * n) for n in tokens]
        budgets = await core.services.budgets.page(caller, BudgetPage(10))
        assert [one.spent.tokens for one in budgets[0]] == [sum(tokens)] * 2
        for grouping, group in ((Grouping.MODEL, MODEL), (Grouping.KEY, caller.key_id)):
            wanted = UsageRequest(None, None, Bucket.DAY, grouping, 10)
            (row,) = (await core.services.usage.page(caller, wanted)).rows
            assert (row.group, row.input_tokens, row.model_requests) == (group, sum(tokens), 3)
            assert row.credits == 3 * sum(tokens)


async def test_writes_read_their_store_once_for_the_price_and_never_again(
    database: Database, provider: EmbeddingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    get = Memories.get

    async def counted(self: Memories, workspace_id: str, store_id: str) -> MemoryStore:
        reads.append(store_id)
        return await get(self, workspace_id, store_id)

    monkeypatch.setattr(Memories, "get", counted)
    async with database.core(models=NamedModels({}), clock=FakeClock(), prices=PRICES) as core:
        await core.maintenance.hold(EMBED)
        memory, caller = core.services.memory, await owner(core)
        stores = [(await memory.create(caller, "s", embedding=model))[0] for model in (None, MODEL)]
        for content in ("one", "two", "three"):
            for store in stores:
                await memory.write(caller, store.id, "rex", ItemWrite(content))
    assert reads == [store.id for store in stores]
    assert len(database.rows(OF_REQUESTS)) == 3


WRITE = 100 + 3 * ESTIMATED
"""Billionths that the tool's write costs."""


@pytest.mark.parametrize("whose", ["workspace", "execution"])
@pytest.mark.parametrize("left", [WRITE - 1, WRITE])
async def test_a_tools_write_is_reserved_with_its_vector_before_it_begins(
    database: Database, provider: EmbeddingProvider, whose: str, left: int
) -> None:
    replies = by_turn([call(1, "memory_write", key="rex", content=CONTENT)], ["Done"])
    models = NamedModels({"actor": FakeModel(replies)})
    free = Prices({**PRICES.models, "actor": ModelPrice(0, 0, 0, 0)}, PRICES.tools)
    async with database.core(models=models, clock=FakeClock(), prices=free) as core:
        await core.maintenance.hold(EMBED)
        caller, services = await owner(core), core.services
        await services.agents.put(caller.workspace_id, [(spec(), "1")])
        store, _ = await services.memory.create(caller, "notes", embedding=MODEL)
        budget = Budget()
        if whose == "workspace":
            bounds = SetBudget(Bounds(credits=left))
            await services.budgets.set(caller, caller.workspace_id, bounds)
        else:
            budget = Budget(max_credits=left / NANO)
        given = (MemoryAccess(store.id, Access.READ_WRITE),)
        started = await services.executions.start(
            replace(caller, budgeted=True),
            "agent",
            start_request(memory_stores=given, budget=budget),
        )
        async with asyncio.timeout(BOUND):
            done = (await services.executions.rest(caller, started.execution.id)).execution
        written, _ = await services.memory.items(caller, store.id, "", "", 10)
        if left < WRITE:
            assert done.error is not None
            assert done.error.code == "budget_exceeded"
            assert "none was begun" in done.error.message
        assert (len(written), done.credits) == ((0, 0) if left < WRITE else (1, WRITE))
    used = database.rows("SELECT sum(spent_credits), sum(reserved_credits) FROM budget_shares")
    assert used == [(done.credits, 0) if whose == "workspace" else (None, None)]
