"""The background room: runs without a body, polled as events."""

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from outlast.model.error import ModelRejected
from outlast.testing import FakeClock
from tests.support.api import Api, MakeApi
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
ROOM = Path(__file__).parents[2] / "src/outlast/rooms/background"
FIELDS = {
    "id",
    "agentId",
    "userId",
    "status",
    "startedAt",
    "completedAt",
    "error",
    "finalModel",
    "browserStepCount",
    "browserSessionSeconds",
    "createdAt",
    "updatedAt",
    "output",
    "requestId",
    "detail",
}


async def test_a_run_without_a_body_is_accepted_and_already_listed(make_api: MakeApi) -> None:
    held = asyncio.Event()
    model = FakeModel(by_turn([held, "Done."]))
    api = await make_api(model)
    response = await api.execute()
    assert response.status_code == 202
    data = response.json()["data"]
    assert set(data) == {"message", "requestId", "agentId"}
    (event,) = (await api.get("/v1/agents/agent/events", limit=1)).json()["data"]
    assert set(event) == FIELDS
    assert event["requestId"] == data["requestId"]
    assert event["status"] in ("PENDING", "RUNNING")
    held.set()
    await api.rested(data["requestId"])
    (event,) = (await api.get("/v1/events")).json()["data"]
    assert event["status"] == "COMPLETED"
    assert (event["output"], event["error"], event["finalModel"]) == ("Done.", None, "actor-1")
    assert (event["browserStepCount"], event["browserSessionSeconds"]) == (0, 0)
    assert event["completedAt"] >= event["startedAt"] >= event["createdAt"]
    assert model.requests[0].messages[0].text == "Carry out your instructions."  # type: ignore[union-attr]


async def test_an_empty_object_is_a_body_and_lacks_its_input(api: Api) -> None:
    response = await api.execute({})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "input"


async def test_every_status_has_its_word_and_every_word_is_a_filter(make_api: MakeApi) -> None:
    held = asyncio.Event()
    replies: dict[str, Reply] = {
        "held": ["Hel", held],
        "failing": [ModelRejected("No.")],
        "asking": [call(1, "refund")],
        "quick": ["ok"],
    }
    model = FakeModel(lambda request: replies[request.messages[-1].text])  # type: ignore[union-attr]
    api = await make_api(model, spec(tool("refund", approval=True)), FakeTools(), concurrency=2)
    quick = (await api.execute({"input": "quick"})).json()["id"]
    failed = (await api.execute({"input": "failing"})).json()["id"]
    suspended = (await api.execute({"input": "asking"})).json()["id"]
    cancelled = (await api.execute({"input": "asking"})).json()["id"]
    await api.client.post(f"/v1/executions/{cancelled}/cancel")
    model.spoke.clear()
    first = await api.started(input="held")
    async with asyncio.timeout(BOUND):
        await model.spoke.wait()
    conversation = (await api.get(f"/v1/executions/{first}")).json()["conversationId"]
    waiting = await api.started(input="held", conversationId=conversation)

    async def listed(word: str) -> dict[str, tuple[str, str | None]]:
        found = (await api.get("/v1/events", status=word)).json()["data"]
        assert {event["status"] for event in found} == {word}
        return {event["id"]: (event["detail"], event["error"]) for event in found}

    assert await listed("PENDING") == {waiting: ("queued", None)}
    assert await listed("RUNNING") == {first: ("running", None), suspended: ("suspended", None)}
    assert await listed("COMPLETED") == {quick: ("completed", None)}
    assert await listed("FAILED") == {
        failed: ("failed", "No."),
        cancelled: ("cancelled", "cancelled"),
    }
    held.set()
    await api.rested(waiting)


async def test_the_token_walks_to_the_end(api: Api) -> None:
    made = [(await api.execute({"input": str(n)})).json()["id"] for n in range(5)]
    seen: list[str] = []
    token: dict[str, str] = {}
    page: dict[str, Any] = {}
    for _ in range(3):
        page = (await api.get("/v1/agents/agent/events", limit=2, **token)).json()
        seen += [event["id"] for event in page["data"]]
        token = {"nextToken": page["nextToken"]}
    assert seen == made[::-1]
    assert page["nextToken"] is None


async def test_started_after_and_before_are_exclusive(make_api: MakeApi) -> None:
    clock = FakeClock(1_773_570_600_000)
    api = await make_api(clock=clock)
    first = (await api.execute({"input": "Hi"})).json()
    clock.advance(60)
    second = (await api.execute({"input": "Ho"})).json()

    async def listed(**filters: str) -> list[str]:
        found = (await api.get("/v1/events", **filters)).json()["data"]
        return [event["id"] for event in found]

    assert await listed(startedAfter=first["startedAt"]) == [second["id"]]
    assert await listed(startedBefore=second["startedAt"]) == [first["id"]]
    assert await listed(startedAfter="2026-03-15", startedBefore="2026-03-16") == [
        second["id"],
        first["id"],
    ]
    assert await listed(agentId="agent") == [second["id"], first["id"]]


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("limit", "0"),
        ("limit", "201"),
        ("status", "completed"),
        ("nextToken", "@@"),
        ("nextToken", "é"),
        ("nextToken", "x"),
        ("startedAfter", "soon"),
        ("startedBefore", ""),
        ("agentId", "unknown"),
    ],
)
async def test_a_bad_parameter_is_400_and_named(api: Api, param: str, value: str) -> None:
    response = await api.get("/v1/events", **{param: value})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_events_of_an_unknown_agent_are_404(api: Api) -> None:
    response = await api.get("/v1/agents/unknown/events")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "agent_not_found"


@pytest.mark.skipif(
    not (shutil.which("jq") and shutil.which("curl") and shutil.which("bash")),
    reason="the page's loop is written for bash, curl and jq",
)
async def test_the_polling_loop_of_the_contract_works_as_printed(api: Api) -> None:
    readme = (ROOM / "README.md").read_text()
    found = re.search(r"```bash\n(.*?)```", readme, re.DOTALL)
    assert found is not None
    async with api.listening() as client:
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            found[1],
            env={
                "PATH": os.environ["PATH"],
                "API_KEY": api.key,
                "EXTERNAL_API_ENDPOINT": str(client.base_url).rstrip("/"),
                "AGENT_ID": "agent",
            },
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
    assert process.returncode == 0
    assert out.decode().splitlines()[-1] == "Status: COMPLETED"
