"""Input that MCP servers request, in one process: expiry, roll-back, and the rooms' streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

import outlast
from outlast.agents.mcp.waiting_calls import WaitingCalls
from outlast.engine.segment import inputs
from tests.agents.test_mcp_runs import client_of
from tests.support.databases import SQLITE
from tests.support.mcp_servers import ASKING, noted, until_noted
from tests.support.python_process import as_fork
from tests.support.waiting import BOUND, until, until_found

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]

SCRIPT: Final = """
turns:
  - when: ship
    steps: [{tool_calls: [{name: new__ship, parameters: {item: lamp}}]}, {text: "{result}"}]
  - when: quote
    steps: [{tool_calls: [{name: old__quote, parameters: {item: lamp}}]}, {text: "{result}"}]
  - when: two
    steps:
      - tool_calls:
          - {name: old__quote, parameters: {item: lamp}}
          - {name: old__quote, parameters: {item: chair}}
      - {text: "{result}"}
  - when: below
    steps: [{tool_calls: [{name: plain, parameters: {input: ship}}]}, {text: "{result}"}]
"""
FILE: Final = """
import sys
from outlast import Agent, Context, agent, agent_tool, mcp_tools

args = ["ASKING", "stdio"]
new = mcp_tools("new", command=sys.executable, args=[*args, "new", "FOLDER"])
old = mcp_tools("old", command=sys.executable, args=[*args, "old", "FOLDER"], trust=True)
approved = mcp_tools("new", command=sys.executable, args=[*args, "new", "FOLDER"], approval=True)
plain = Agent("plain", model="scripted:script.yaml", tools=[*new, *old])
asks = Agent("asks", model="scripted:script.yaml", tools=approved)
parent = Agent("parent", model="scripted:script.yaml", tools=[agent_tool("plain")])


@agent(model="scripted:script.yaml", tools=new)
async def coded(ctx: Context, given: str) -> str:
    return str((await ctx.tool("new__ship", item=given))["result"])


agents = [plain, asks, parent, coded]
"""


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an agents file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.yaml").write_text(SCRIPT)
    file = f"asks_{tmp_path.name}.py"  # each its own, as it becomes a module
    asking = as_fork(ASKING, tmp_path)
    (tmp_path / file).write_text(FILE.replace("FOLDER", str(tmp_path)).replace("ASKING", asking))
    return tmp_path


@pytest.fixture
async def client(paths: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(paths) as client:
        yield client


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    file = f"asks_{folder.name}.py"
    server = outlast.asgi(file, data_dir=folder / "data", drain_seconds=1)
    async with server.lifespan(), client_of(server) as client:
        yield client


async def start(client: httpx2.AsyncClient, agent: str, text: str) -> str:
    body = {"input": text, "background": True}
    answer = await client.post(f"/v1/agents/{agent}/execute", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def until_input(client: httpx2.AsyncClient, run: str, street: bool = True) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = (await client.get(f"/v1/executions/{run}")).json()
        assert found["status"] not in {"completed", "failed"}, found
        pending = found.get("pendingInputs", ())
        of_weight = (("heavy" in one["questions"][0]["message"], one) for one in pending)
        return next((one for heavy, one in of_weight if heavy != street), None)

    return await until_found(look)


async def until_ended(client: httpx2.AsyncClient, run: str) -> dict[str, Any]:
    async with asyncio.timeout(BOUND):
        await client.get(f"/v1/executions/{run}/stream")
    found: dict[str, Any] = (await client.get(f"/v1/executions/{run}")).json()
    return found


async def give(
    client: httpx2.AsyncClient, run: str, pending: dict[str, Any], result: Any, room: str = "/v1"
) -> None:
    path = f"{room}/executions/{run}/client-calls/{pending['toolCallId']}"
    answer = await client.post(path, json={"result": result})
    assert answer.status_code == 200, answer.text


def accept(**content: Any) -> dict[str, Any]:
    return {"action": "accept", "content": content}


async def test_a_server_that_holds_its_call_gets_a_cancel_when_the_time_is_over(
    client: httpx2.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "LIVE_SECONDS", 0.0)
    ended = await until_ended(client, await start(client, "plain", "quote"))
    assert ended["output"] == '{"result":"cancel"}'
    assert noted(tmp_path) == ["asks lamp", "answered lamp cancel"]


async def test_a_call_that_waits_for_input_is_made_with_a_cancel_when_the_time_is_over(
    client: httpx2.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "INPUT_SECONDS", 0.0)
    ended = await until_ended(client, await start(client, "plain", "ship"))
    (call,) = ended["toolCalls"]
    assert call["isError"]
    assert not noted(tmp_path)


@pytest.mark.parametrize("way", ["answer", "cancel"])
async def test_a_command_is_kept_while_a_call_of_it_waits_and_no_longer(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    looks: list[bool] = []
    look = WaitingCalls.any

    async def looked(self: WaitingCalls) -> bool:
        looks.append(await look(self))
        return looks[-1]

    monkeypatch.setattr(WaitingCalls, "any", looked)
    monkeypatch.setattr("outlast.agents.mcp.client.IDLE_SECONDS", 0.25)
    run = await start(client, "coded", "lamp")
    pending = await until_input(client, run)
    await until(lambda: looks.count(True) >= 3)
    if way == "answer":  # what was given first is known to the process alone
        await give(client, run, pending, accept(street="High"))
        pending, before = await until_input(client, run, street=False), looks.count(True)
        await until(lambda: looks.count(True) >= before + 3)
        await give(client, run, pending, accept(kilos=3))
        assert (await until_ended(client, run))["output"] == "lamp, 3 kg, to High"
    else:
        assert (await client.post(f"/v1/executions/{run}/cancel")).status_code == 200

    async def closed() -> bool:
        return "outlast_mcp_connections 0" in (await client.get("/metrics")).text

    await until_found(closed)
    assert not looks[-1]


async def test_what_a_command_has_forgotten_with_us_is_an_error_that_says_so(
    paths: Path,
) -> None:
    async with serving(paths) as client:
        run = await start(client, "plain", "ship")
        pending = await until_input(client, run)
    async with serving(paths) as client:
        await give(client, run, pending, accept(street="High"))
        ended = await until_ended(client, run)
    (call,) = ended["toolCalls"]
    assert call["isError"]
    assert call["result"] == "The MCP server new refused the call: Invalid or expired requestState"
    assert not noted(paths)


async def test_a_command_that_does_not_say_which_call_asks_gets_no_input(
    client: httpx2.AsyncClient, tmp_path: Path
) -> None:
    run = await start(client, "plain", "two")
    await until_noted(tmp_path, "asks", 2)
    ended = await until_ended(client, run)
    assert all(call["isError"] for call in ended["toolCalls"]), ended
    assert "call again by itself" in str(ended["toolCalls"])


async def test_an_approved_call_waits_for_input_and_is_approved_again_after_a_roll_back(
    client: httpx2.AsyncClient, tmp_path: Path
) -> None:
    answer = await client.post("/v1/agents/asks/execute", json={"input": "ship"})
    run, (pending,) = answer.json()["id"], answer.json()["pendingApprovals"]
    path = f"/v1/executions/{run}/approvals/{pending['toolCallId']}"
    assert (await client.post(path, json={"approved": True})).status_code == 200
    await give(client, run, await until_input(client, run), accept(street="High"))
    heavy = await until_input(client, run, street=False)
    assert heavy["toolCallId"] == pending["toolCallId"]
    await give(client, run, heavy, accept(kilos=3))
    assert (await until_ended(client, run))["output"] == '{"result":"lamp, 3 kg, to High"}'
    checkpoints = (await client.get(f"/v1/executions/{run}/checkpoints")).json()["data"]
    first = min(checkpoints, key=lambda one: one["step"])
    back = await client.post(f"/v1/executions/{run}/resume", json={"checkpointId": first["id"]})
    assert back.status_code in {200, 202}, back.text

    async def look() -> list[dict[str, Any]] | None:
        found = (await client.get(f"/v1/executions/{run}")).json()
        return found["pendingApprovals"] if found["status"] == "suspended" else None

    (again,) = await until_found(look)
    assert (again["kind"], again["toolCallId"]) == ("approval", pending["toolCallId"])
    assert len(noted(tmp_path)) == 1


async def test_a_function_that_calls_such_a_tool_goes_on_with_its_result(
    client: httpx2.AsyncClient,
) -> None:
    run = await start(client, "coded", "lamp")
    await give(client, run, await until_input(client, run), accept(street="High"))
    await give(client, run, await until_input(client, run, street=False), accept(kilos=3))
    assert (await until_ended(client, run))["output"] == "lamp, 3 kg, to High"


async def test_the_input_of_a_call_below_is_shown_and_given_at_the_root_in_both_rooms(
    client: httpx2.AsyncClient,
) -> None:
    run = await start(client, "parent", "below")
    pending = await until_input(client, run)
    assert pending["executionId"] != run
    await give(client, run, pending, accept(street="High"))
    await give(
        client, run, await until_input(client, run, street=False), accept(kilos=3), "/run/api"
    )
    ended = await until_ended(client, run)
    assert "lamp, 3 kg, to High" in ended["output"]
    frames = (await client.get(f"/v1/executions/{run}/stream")).text
    assert frames.count('"type":"input_requested"') == 2
    ui = (await client.get(f"/run/api/executions/{run}/stream?format=ui")).text
    assert ui.count('"type":"data-input-request"') == 2
    assert '"message":"Which street?"' in ui
    plain = (await client.get(f"/run/api/executions/{run}/stream?format=openai")).text
    assert plain.count("data-input-request") == 2


async def test_a_chat_sees_the_same_frames_live_and_in_a_replay(client: httpx2.AsyncClient) -> None:
    run = await start(client, "plain", "ship")
    pending = await until_input(client, run)
    chat = f"/run/api/executions/{run}/stream?format=ui"
    following = asyncio.create_task(client.get(chat))

    async def follows() -> bool | None:
        return "outlast_followers 1.0" in (await client.get("/metrics")).text or None

    await until_found(follows)
    await give(client, run, pending, accept(street="High"))
    await give(client, run, await until_input(client, run, street=False), accept(kilos=3))
    live, replay = (await following).text, (await client.get(chat)).text
    assert live == replay
    assert "tool-output-available" in live
