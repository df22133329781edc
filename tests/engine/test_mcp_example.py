"""The example of an MCP server: an order is refunded once a person gives a reason."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

import outlast
from tests.support.databases import SQLITE
from tests.support.waiting import BOUND, until_found

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]
DESK = Path(__file__).parent.parent.parent / "examples" / "mcp_desk" / "agents.yaml"


@pytest.fixture
async def client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx2.AsyncClient]:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    server = outlast.asgi(str(DESK), data_dir=tmp_path, drain_seconds=1)
    async with server.lifespan():
        key = (tmp_path / "api_key").read_text().strip()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(server),
            base_url="http://desk",
            headers={"Authorization": f"Bearer {key}"},
            timeout=BOUND,
        ) as client:
            yield client


async def test_an_order_is_refunded_with_the_reason_that_a_person_gives(
    client: httpx2.AsyncClient,
) -> None:
    body = {"input": "Refund order 17"}
    run = (await client.post("/v1/agents/desk/execute", json=body)).json()
    assert run["status"] == "suspended", run
    (looked_up,) = run["toolCalls"]
    assert looked_up["result"] == {"result": "Order 17 is a lamp for 40."}
    (pending,) = run["pendingInputs"]
    assert [one["message"] for one in pending["questions"]] == ["Why is this refunded?"]
    path = f"/v1/executions/{run['id']}"
    given = {"result": {"action": "accept", "content": {"reason": "it came broken"}}}
    answer = await client.post(f"{path}/client-calls/{pending['toolCallId']}", json=given)
    assert answer.status_code == 200, answer.text

    async def ended() -> str | None:
        found = (await client.get(path)).json()
        return found["output"] if found["status"] == "completed" else None

    assert "40 refunded for order 17: it came broken." in await until_found(ended)
