"""The example of a team: two researchers at once, and a page after an approval."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

import outlast
from tests.support.waiting import BOUND, until_found

pytestmark = pytest.mark.anyio
TEAM = Path(__file__).parent.parent.parent / "examples" / "research_team" / "agents.yaml"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    server = outlast.asgi(str(TEAM), data_dir=tmp_path, drain_seconds=1)
    async with server.lifespan():
        key = (tmp_path / "api_key").read_text().strip()
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(server),
            base_url="http://team",
            headers={"Authorization": f"Bearer {key}"},
            timeout=BOUND,
        ) as client:
            yield client


@pytest.mark.parametrize(
    ("approved", "output"),
    [
        (True, "Done. The page is at https://pages.example/otters."),
        (False, "Done. The call was denied; the tool did not run."),
    ],
)
async def test_the_team_researches_at_once_and_publishes_what_a_person_approves(
    client: httpx2.AsyncClient, approved: bool, output: str
) -> None:
    body = {"input": "A page about otters"}
    root = (await client.post("/v1/agents/coordinator/execute", json=body)).json()
    assert (root["status"], root["output"]) == ("suspended", "I have two questions researched.")
    (waiting,) = root["pendingApprovals"]
    assert waiting["name"] == "publish"
    path = f"/v1/executions/{root['id']}"
    decided = await client.post(
        f"{path}/approvals/{waiting['toolCallId']}", json={"approved": approved}
    )
    assert decided.status_code == 200, decided.text

    async def ended() -> str | None:
        found = (await client.get(path)).json()
        return found["output"] if found["status"] == "completed" else None

    assert await until_found(ended) == output
    agents = [
        (one["agentName"], one["parentId"], one["status"])
        for one in (await client.get("/v1/executions")).json()["data"]
    ]
    assert sorted(agents, key=str) == sorted(
        [
            ("coordinator", None, "completed"),
            ("publisher", root["id"], "completed"),
            ("researcher", root["id"], "completed"),
            ("researcher", root["id"], "completed"),
        ],
        key=str,
    )
