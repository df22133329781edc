"""npm's clients against a real server, cut at random a hundred times each."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import words
from tests.support import npm
from tests.support.cutting_proxy import CuttingProxy
from tests.support.processes import API_KEY, ServerProcess

pytestmark = pytest.mark.anyio
CUTS = 100


def texts(message: dict[str, Any]) -> list[str]:
    return [part["text"] for part in message["parts"] if part["type"] == "text"]


def call_of(message: dict[str, Any]) -> dict[str, Any]:
    (found,) = (part for part in message["parts"] if part["type"] == "tool-calculator")
    return dict(found)


async def test_workflow_ai_resumes_by_index_and_loses_nothing(
    packages: Path, server: ServerProcess
) -> None:
    options = {"direct": f"http://127.0.0.1:{server.port}", "key": API_KEY, "text": "long"}
    uncut = await npm.run(packages, "workflow.mjs", options | {"url": options["direct"]})
    assert uncut["requests"] == 1
    async with CuttingProxy(server.port, cuts=CUTS, most=300) as proxy:
        cut = await npm.run(packages, "workflow.mjs", options | {"url": proxy.url})
        assert proxy.cuts == 0
    assert cut["requests"] == CUTS + 1
    assert cut["chunks"] == uncut["chunks"]
    assert texts(cut["message"]) == texts(uncut["message"])
    assert texts(cut["message"]) == [words("b", 300), f"{words('a', 300)} It is 42."]
    assert call_of(cut["message"])["output"] == 42
    assert cut["message"]["id"] == cut["run"] != uncut["run"]


async def test_the_ai_sdk_s_chat_sends_resumes_approves_and_ends(
    packages: Path, server: ServerProcess
) -> None:
    options = {"key": API_KEY, "text": "short"}
    direct = f"http://127.0.0.1:{server.port}"
    (uncut,) = await npm.run(packages, "chat.mjs", options | {"url": direct, "chats": 1})
    assert uncut["seen"]["resumed"] == 0
    assert uncut["seen"]["statuses"] == [200, 200, 204]
    async with CuttingProxy(server.port, cuts=CUTS, most=1200) as proxy:
        cut = []
        while proxy.cuts:
            cut += await npm.run(packages, "chat.mjs", options | {"url": proxy.url, "chats": 20})
    assert sum(chat["seen"]["resumed"] for chat in cut) >= CUTS
    for chat in (uncut, *cut):
        assert chat["seen"]["statuses"][-1] == 204
        (question, answered) = chat["messages"]
        assert (question["role"], answered["id"]) == ("user", chat["seen"]["run"])
        assert texts(answered) == texts(uncut["messages"][1])
        assert call_of(answered)["output"] == 42
    assert texts(uncut["messages"][1])[-1] == "As you know, it is 42, and that is that."


async def test_an_event_source_comes_back_by_itself_and_gets_every_frame_once(
    packages: Path, server: ServerProcess
) -> None:
    async with server.http.stream(
        "POST", "/run/api/executions", json={"messages": [{"role": "user", "content": "long"}]}
    ) as response:
        run = response.headers["x-execution-id"]
    ticket = (await server.http.post(f"/v1/executions/{run}/stream-ticket")).json()["ticket"]
    path = f"/run/api/executions/{run}/stream"
    (call,) = await _pending(server, run)
    async with CuttingProxy(server.port, cuts=CUTS, most=2000) as proxy:
        approve = f"/run/api/executions/{run}/approvals/{call}"
        assert (await server.http.post(approve, json={"approved": True})).status_code == 200
        url = f"{proxy.url}{path}?ticket={ticket}"
        heard = await npm.run(packages, "eventsource.mjs", {"url": url})
        assert proxy.cuts == 0
    uncut = await server.http.get(path)
    assert heard["connections"] > CUTS
    frames = [frame.split("\ndata: ") for frame in uncut.text.removesuffix("\n\n").split("\n\n")]
    assert heard["frames"] == [[index.removeprefix("id: "), data] for index, data in frames]


async def _pending(server: ServerProcess, run: str) -> list[str]:
    """The calls that wait, once the run is suspended."""
    found = await server.http.get(f"/v1/executions/{run}")
    while found.json()["status"] != "suspended":
        found = await server.http.get(f"/v1/executions/{run}")
    return [approval["toolCallId"] for approval in found.json()["pendingApprovals"]]
