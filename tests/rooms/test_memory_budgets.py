"""Memory stores with an embedding model, and budgets that have no room for their requests."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from outlast.engine.maintenance.lost_requests import RELEASE_REQUESTS
from outlast.engine.maintenance.pending_vectors import EMBED
from outlast.model.charge import Charge
from outlast.model.ids import STEP
from outlast.model.usage import Usage
from outlast.store.request_charges import RequestCharge
from outlast.testing import FakeClock
from tests.rooms.conftest import MakeApi
from tests.support.api import Api
from tests.support.databases import SQLITE, Database
from tests.support.embeddings import EmbeddingProvider

pytestmark = pytest.mark.anyio

STORES = "/v1/memory-stores"
QUERY = "puppy"
ESTIMATED = 2
"""Tokens of the query."""
COUNTED = 7
"""Tokens that the model counts for it."""


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddingProvider]:
    async with EmbeddingProvider() as made:
        monkeypatch.setenv("OPENAI_BASE_URL", made.url)
        yield made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def house(make_api: MakeApi, clock: FakeClock, provider: EmbeddingProvider) -> Api:
    made = await make_api(clock=clock)
    await made.core.maintenance.hold(EMBED)
    return made


async def store_of(api: Api, **more: Any) -> str:
    body = {"name": "notes", "embedding": "openai-embeddings:small"} | more
    answer = await api.client.post(STORES, json=body)
    assert answer.status_code == 201, answer.text
    return f"{STORES}/{answer.json()['id']}"


async def bound(api: Api, owner: str = "workspace", **bounds: Any) -> None:
    answer = await api.client.put(f"/v1/budgets/{owner}", json=bounds)
    assert answer.status_code == 200, answer.text


async def used(api: Api, owner: str = "workspace") -> tuple[int, int]:
    """Tokens spent and reserved."""
    found = (await api.get(f"/v1/budgets/{owner}")).json()
    return found["spent"]["tokens"], found["reserved"]["tokens"]


async def write(api: Api, store: str, key: str, **body: Any) -> httpx2.Response:
    return await api.client.put(f"{store}/items/{key}", json=body)


async def search(api: Api, store: str, mode: str = "semantic") -> httpx2.Response:
    return await api.client.post(f"{store}/search", json={"query": QUERY, "mode": mode})


def is_refused(answer: httpx2.Response) -> bool:
    found = answer.status_code, answer.json().get("error", {}).get("code")
    return found == (429, "quota_exceeded")


@pytest.mark.parametrize("whose", ["workspace", "key"])
async def test_a_spent_budget_refuses_what_an_embedding_model_is_needed_for_and_nothing_else(
    house: Api, provider: EmbeddingProvider, whose: str
) -> None:
    store, plain = await store_of(house), await store_of(house, name="words", embedding=None)
    owner = whose if whose == "workspace" else f"key:{house.caller.key_id}"
    await bound(house, owner, maxTokens=4, period="day")
    assert (await write(house, store, "rex", content="A hound")).status_code == 201
    spent = await used(house, owner)
    assert spent == (3, 0)
    refused = await write(house, store, "max", content="Another hound")
    assert is_refused(refused)
    assert int(refused.headers["retry-after"]) <= 86_400
    assert (await house.get(f"{store}/items/max")).status_code == 404
    assert is_refused(await write(house, store, "rex", content="Another hound than before"))
    assert (await house.get(f"{store}/items/rex")).json()["version"] == 1
    for mode in ("semantic", "hybrid"):
        assert is_refused(await search(house, store, mode))
    assert provider.requests == []
    assert (await search(house, store, "text")).status_code == 200
    changed = await house.client.patch(f"{store}/items/rex", json={"metadata": {"a": "1"}})
    assert changed.status_code == 200
    assert (await write(house, plain, "max", content="Another hound")).status_code == 201
    assert await used(house, owner) == spent
    await bound(house, owner, maxTokens=1000, period="day")
    assert (await write(house, store, "max", content="Another hound")).status_code == 201


async def test_a_search_is_reserved_while_it_runs_and_costs_what_the_model_counts(
    house: Api, provider: EmbeddingProvider
) -> None:
    store = await store_of(house)
    await bound(house, maxTokens=2 * ESTIMATED - 1)
    provider.gate = asyncio.Event()
    searching = asyncio.create_task(search(house, store))
    await provider.arrived.wait()
    assert await used(house) == (0, ESTIMATED)
    assert is_refused(await search(house, store))
    provider.gate.set()
    assert (await searching).status_code == 200
    assert await used(house) == (COUNTED, 0)
    assert len(provider.requests) == 1


@pytest.mark.only(SQLITE)
async def test_a_search_that_fails_or_is_given_up_costs_and_holds_nothing(
    house: Api, provider: EmbeddingProvider
) -> None:
    store = await store_of(house)
    await bound(house, maxTokens=100)
    provider.status = 503
    assert (await search(house, store)).status_code == 502
    assert (await search(house, store, "hybrid")).status_code == 200
    assert await used(house) == (0, 0)
    provider.status, provider.gate = 200, asyncio.Event()
    provider.arrived.clear()
    searching = asyncio.create_task(search(house, store))
    await provider.arrived.wait()
    assert await used(house) == (0, ESTIMATED)
    searching.cancel()
    await asyncio.wait({searching})
    assert await used(house) == (0, 0)
    provider.gate.set()


async def test_what_a_process_had_reserved_that_died_is_released(
    house: Api, clock: FakeClock, database: Database
) -> None:
    await bound(house, maxTokens=100)
    requests = house.core.store.request_charges
    charge = Charge(clock.new_id(STEP), None, "model", "small", 0, clock.now(), Usage(60))
    wanted = RequestCharge(house.caller.workspace_id, house.caller.key_id, charge)
    assert await requests.reserve(wanted)
    clock.advance(59)
    assert await house.core.maintenance.run(RELEASE_REQUESTS) == 0
    assert await used(house) == (0, 60)
    clock.advance(2)
    assert await house.core.maintenance.run(RELEASE_REQUESTS) == 1
    assert await used(house) == (0, 0)
    await requests.settle(wanted)  # the process was only frozen
    assert await used(house) == (60, 0)
    assert database.rows("SELECT count(*) FROM reserved_requests") == [(0,)]
