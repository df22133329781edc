"""npm's `ai` with tools that it runs itself: unmodified, over cuts, and over a killed server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import npm
from tests.support.cutting_proxy import CuttingProxy
from tests.support.processes import API_KEY, ServerProcess

pytestmark = pytest.mark.anyio
GENERATIONS = ["first", "six", "next"]
CUTS, KILLS = 60, 4
AGENTS = """
agents:
  - name: desk
    model: scripted:{script}
    tools:
      - {{builtin: calculator, name: add}}
      - {{builtin: calculator, approval: true}}
      - name: pick
        description: Let the user pick a file
        client: true
        timeout: 600
"""
SCRIPT = """
turns:
  - when: twice
    steps:
      - text: First a file.
        tool_calls: [{name: pick, parameters: {}}]
      - text: Now the place.
        tool_calls: [{name: locate, parameters: {precise: true}}]
      - text: You are at {result.city}, and that is that.
        delay_ms: 2
  - when: mixed
    steps:
      - text: Three things.
        tool_calls:
          - {name: add, parameters: {expression: 1 + 1}}
          - {name: calculator, parameters: {expression: 6 * 7}}
          - {name: locate, parameters: {}}
      - text: You are at {result.city}, and that is that.
  - steps:
      - text: Where are you?
        tool_calls: [{name: locate, parameters: {}}]
      - text: I see, and that is that.
        delay_ms: 2
"""


TEAM = """
agents:
  - name: clerk
    model: scripted:{script}
    tools:
      - {{name: pick, description: Let the user pick a file, client: true, timeout: 600}}
  - name: lead
    model: scripted:{script}
    tools: [{{agent: clerk}}]
"""
BELOW = """
turns:
  - when: choose
    steps:
      - tool_calls: [{name: clerk, parameters: {input: pick it}}]
      - text: Done, and that is that.
  - steps: [{tool_calls: [{name: pick, parameters: {}}]}, {text: "Chosen: {result}"}]
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    settings = {"OUTLAST_TAKEOVER_SECONDS": "2"}
    async with ServerProcess(tmp_path, AGENTS.format(script=script), settings) as serving:
        yield serving


def said(text: str, url: str, chats: int = 1, generations: list[str] | None = None) -> Any:
    return {
        "url": url,
        "key": API_KEY,
        "text": text,
        "chats": chats,
        "generations": generations or GENERATIONS,
    }


def outputs(message: dict[str, Any]) -> dict[str, Any]:
    """What each tool's part holds, by the tool."""
    found = {}
    for part in message["parts"]:
        if part["type"].startswith("tool-"):
            name = part["type"].removeprefix("tool-")
            assert name not in found, "no call is shown twice"
            found[name] = part.get("output", part.get("errorText"))
    return found


def texts(message: dict[str, Any]) -> list[str]:
    return [part["text"] for part in message["parts"] if part["type"] == "text"]


async def calls(server: ServerProcess, run: str) -> list[tuple[str, Any, bool]]:
    execution = await server.execution(run)
    assert execution["status"] == "completed", execution
    return [(call["name"], call["result"], call["isError"]) for call in execution["toolCalls"]]


async def test_a_tool_without_execute_continues_the_same_run(
    packages: Path, server: ServerProcess
) -> None:
    direct = f"http://127.0.0.1:{server.port}"
    for chat in await npm.run(packages, "tools.mjs", said("twice", direct)):
        seen, (question, answer) = chat["seen"], chat["messages"]
        assert (seen["statuses"], seen["errors"], seen["resumed"]) == ([200, 200, 200], [], 0)
        assert (question["role"], answer["id"]) == ("user", seen["run"])
        assert texts(answer) == [
            "First a file.",
            "Now the place.",
            "You are at Berlin, and that is that.",
        ]
        assert outputs(answer) == {"pick": "report.pdf", "locate": {"city": "Berlin"}}
        assert len(seen["ran"]) == len(set(seen["ran"])) == 2
        assert await calls(server, seen["run"]) == [
            ("pick", "report.pdf", False),
            ("locate", {"city": "Berlin"}, False),
        ]


async def test_an_error_of_the_client_s_tool_is_read_by_the_model(
    packages: Path, server: ServerProcess
) -> None:
    direct = f"http://127.0.0.1:{server.port}"
    for chat in await npm.run(packages, "tools.mjs", said("fails", direct)):
        assert outputs(chat["messages"][1]) == {"locate": "No signal."}
        assert await calls(server, chat["seen"]["run"]) == [("locate", "No signal.", True)]


async def test_it_stands_beside_a_tool_of_the_server_and_an_approval(
    packages: Path, server: ServerProcess
) -> None:
    direct = f"http://127.0.0.1:{server.port}"
    for chat in await npm.run(packages, "tools.mjs", said("mixed", direct)):
        seen, (_, answer) = chat["seen"], chat["messages"]
        assert (seen["errors"], seen["resumed"]) == ([], 0)
        assert outputs(answer) == {"add": 2, "calculator": 42, "locate": {"city": "Berlin"}}
        assert texts(answer) == ["Three things.", "You are at Berlin, and that is that."]
        assert len(seen["ran"]) == 1
        assert len(await calls(server, seen["run"])) == 3


async def test_a_call_of_an_agent_below_is_run_by_the_chat_of_the_agent_above(
    packages: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.yaml"
    script.write_text(BELOW)
    async with ServerProcess(tmp_path, TEAM.format(script=script)) as server:
        wanted = {"scopes": ["agents:execute", "executions:read"], "agentId": "lead"}
        key = (await server.http.post("/v1/keys", json={"name": "chat", **wanted})).json()["key"]
        direct = said("choose", f"http://127.0.0.1:{server.port}") | {"key": key}
        for chat in await npm.run(packages, "tools.mjs", direct):
            seen, (_, answer) = chat["seen"], chat["messages"]
            assert (seen["statuses"], seen["errors"]) == ([200, 200], [])
            assert outputs(answer) == {"clerk": "Chosen: report.pdf", "pick": "report.pdf"}
            assert texts(answer) == ["Done, and that is that."]
            assert len(seen["ran"]) == 1
            assert await calls(server, seen["run"]) == [("clerk", "Chosen: report.pdf", False)]


async def test_cuts_repeat_no_call_whose_result_had_come(
    packages: Path, server: ServerProcess
) -> None:
    found: list[Any] = []
    async with CuttingProxy(server.port, cuts=CUTS, most=1500) as proxy:
        while proxy.cuts:
            found += await npm.run(packages, "tools.mjs", said("twice", proxy.url, chats=5))
    assert sum(chat["seen"]["resumed"] for chat in found) >= CUTS // 2
    for chat in found:
        seen, answer = chat["seen"], chat["messages"][-1]
        assert seen["late"] == []
        assert outputs(answer) == {"pick": "report.pdf", "locate": {"city": "Berlin"}}
        assert texts(answer)[-1] == "You are at Berlin, and that is that."
        assert [name for name, _, _ in await calls(server, seen["run"])] == ["pick", "locate"]
        assert len({message["id"] for message in chat["messages"]}) == 2
    runs = (await server.http.get("/v1/executions?limit=100")).json()["data"]
    assert len(runs) == len(found), "no cut started a second run"


async def test_a_chat_goes_on_over_servers_that_are_killed(
    packages: Path, server: ServerProcess
) -> None:
    script = server.folder / "script.yaml"
    script.write_text(SCRIPT.replace("delay_ms: 2", "delay_ms: 60"))
    await server.kill()
    await server.start()
    direct = f"http://127.0.0.1:{server.port}"
    wanted = said("twice", direct, chats=4, generations=["six"])
    chatting = asyncio.create_task(npm.run(packages, "tools.mjs", wanted))
    for _ in range(KILLS):
        await asyncio.wait({chatting}, timeout=0.5)
        assert not chatting.done()
        await server.kill()
        await server.start()
    for chat in await chatting:
        seen, answer = chat["seen"], chat["messages"][-1]
        assert seen["late"] == []
        assert outputs(answer) == {"pick": "report.pdf", "locate": {"city": "Berlin"}}
        assert [name for name, _, _ in await calls(server, seen["run"])] == ["pick", "locate"]
