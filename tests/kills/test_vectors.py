"""A server that is killed while items are embedded: each gets its vector all the same."""

import asyncio
from pathlib import Path

import pytest

from tests.support.databases import Database
from tests.support.embeddings import EmbeddingProvider
from tests.support.processes import ServerProcess
from tests.support.waiting import BOUND, until_found

pytestmark = pytest.mark.anyio

AGENTS = """
memoryStores: [{name: notes, embedding: "lab:small"}]
providers: {lab: {baseUrl: "%s"}}
agents: [{name: a, model: "openai-chat:m", memoryStores: [notes]}]
"""


async def test_items_written_before_a_kill_are_found_by_meaning_after_it(
    tmp_path: Path, database: Database
) -> None:
    settings = {"OUTLAST_DATABASE_URL": database.url, "OUTLAST_TAKEOVER_SECONDS": "2"}
    async with EmbeddingProvider() as provider:
        provider.gate = asyncio.Event()  # no answer comes before the kill
        server = ServerProcess(tmp_path, AGENTS % provider.url, settings)
        async with server:
            stores = (await server.http.get("/v1/memory-stores")).json()["data"]
            path = f"/v1/memory-stores/{stores[0]['id']}"
            for number in range(30):
                text = "A hound" if number == 7 else "A car"
                content = {"content": text}
                written = await server.http.put(f"{path}/items/k{number}", json=content)
                assert written.status_code == 201
            async with asyncio.timeout(BOUND):
                await provider.arrived.wait()
            await server.kill()
            provider.gate.set()
            provider.gate = None
            await server.start()

            async def embedded() -> bool:
                state = (await server.http.get(path)).json()["embedding"]
                return bool(state["pending"] == 0)

            await until_found(embedded)
            body = {"query": "puppy", "mode": "semantic", "limit": 1}
            found = (await server.http.post(f"{path}/search", json=body)).json()
            assert [item["key"] for item in found["data"]] == ["k7"]
