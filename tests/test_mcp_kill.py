"""Calls of MCP tools over a real `kill -9` of ours: a person decides, or they run again."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import SQLITE, Database
from tests.support.mcp_servers import (
    ODD,
    SdkServer,
    noted,
    sdk_server,
    until_gone,
    until_noted,
)
from tests.support.mcp_tasks import TaskServer
from tests.support.processes import ServerProcess
from tests.support.waiting import until, until_found

pytestmark = pytest.mark.anyio

AGENTS = """
agents:
  - name: payer
    model: "scripted:script.yaml"
    tools: [{{name: shop, mcp: {{url: "{url}", trust: true}}}}]
  - name: worker
    model: "scripted:work.yaml"
    tools: [{{name: work, mcp: {{url: "{tasks}"}}}}]
  - name: actor
    model: "scripted:act.yaml"
    tools: [{{name: odd, mcp: {{command: "{python}", args: ["-B", "{odd}", "{folder}", plain]}}}}]
"""
SCRIPT = """
turns:
  - when: pay
    steps: [{tool_calls: [{name: shop__pay, parameters: {amount: 1}}]}, {text: "{result}"}]
  - when: wait
    steps: [{tool_calls: [{name: shop__wait, parameters: {number: 1}}]}, {text: "{result}"}]
"""
WORK = """
turns:
  - steps: [{tool_calls: [{name: work__act, parameters: {}}]}, {text: "{result}"}]
"""
ACT = """
turns:
  - steps: [{tool_calls: [{name: odd__act, parameters: {}}]}, {text: "{result}"}]
"""


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[SdkServer]:
    folder = tmp_path / "shop"
    folder.mkdir()
    with sdk_server(folder) as server:
        await server.ready()
        yield server


@pytest.fixture
async def server(
    tmp_path: Path, database: Database, shop: SdkServer, tasks: TaskServer
) -> AsyncIterator[ServerProcess]:
    (tmp_path / "work.yaml").write_text(WORK)
    (tmp_path / "script.yaml").write_text(SCRIPT)
    (tmp_path / "act.yaml").write_text(ACT)
    places = {"python": sys.executable, "odd": ODD, "folder": tmp_path, "tasks": tasks.url}
    agents = AGENTS.format(url=shop.url, **places)
    settings = {"OUTLAST_DATABASE_URL": database.url, "OUTLAST_TAKEOVER_SECONDS": "2"}
    async with ServerProcess(tmp_path, agents, settings) as server:
        yield server


async def until_status(server: ServerProcess, execution_id: str, *status: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = await server.execution(execution_id)
        return found if found["status"] in status else None

    return await until_found(look)


async def decide(server: ServerProcess, execution: dict[str, Any], **decision: Any) -> None:
    (pending,) = execution["pendingApprovals"]
    path = f"/v1/executions/{execution['id']}/approvals/{pending['toolCallId']}"
    answer = await server.http.post(path, json=decision)
    assert answer.status_code == 200, answer.text


async def test_a_destructive_call_is_for_a_person_and_runs_once_more_only_if_so_decided(
    server: ServerProcess, shop: SdkServer
) -> None:
    execution_id = await server.background("payer", "pay")
    await until_noted(shop.folder, "pay 1")
    await server.kill()
    await server.start()
    execution = await until_status(server, execution_id, "suspended", "failed", "completed")
    (pending,) = execution["pendingApprovals"]
    assert (pending["kind"], pending["name"]) == ("unknown_outcome", "shop__pay")
    assert len(noted(shop.folder)) == 1
    (shop.folder / "go").touch()
    await decide(server, execution, approved=True)
    execution = await until_status(server, execution_id, "completed", "failed")
    assert execution["status"] == "completed"
    keys = [line.split()[-1] for line in noted(shop.folder) if line.startswith("pay ")]
    assert keys == [pending["toolCallId"]] * 2


async def test_a_read_only_call_runs_again(server: ServerProcess, shop: SdkServer) -> None:
    execution_id = await server.background("payer", "wait")
    await until_noted(shop.folder, "wait 1")
    await server.kill()
    await server.start()
    await until_noted(shop.folder, "wait 1", 2)
    (shop.folder / "go").touch()
    execution = await until_status(server, execution_id, "completed", "failed", "suspended")
    assert execution["output"] == '{"result":"waited 1"}'


async def test_a_call_is_for_a_person_even_if_its_server_has_gone_too(
    server: ServerProcess, shop: SdkServer
) -> None:
    execution_id = await server.background("payer", "pay")
    await until_noted(shop.folder, "pay 1")
    await server.kill()
    shop.stop()
    await server.start()
    failed = await until_status(server, execution_id, "failed", "completed", "suspended")
    assert failed["error"]["code"] == "tools_unavailable"
    shop.start()
    await shop.ready()
    answer = await server.http.post(f"/v1/executions/{execution_id}/resume")
    assert answer.status_code in {200, 202}, answer.text
    execution = await until_status(server, execution_id, "suspended", "failed", "completed")
    (pending,) = execution["pendingApprovals"]
    assert pending["kind"] == "unknown_outcome"
    await decide(server, execution, approved=True, result="it was paid")
    execution = await until_status(server, execution_id, "completed", "failed")
    assert execution["output"] == "it was paid"
    assert len(noted(shop.folder)) == 1


async def test_a_cancelled_execution_cancels_its_call(
    server: ServerProcess, shop: SdkServer
) -> None:
    execution_id = await server.background("payer", "wait")
    await until_noted(shop.folder, "wait 1")
    await server.http.post(f"/v1/executions/{execution_id}/cancel")
    await until_noted(shop.folder, "cancelled 1")
    assert (await server.execution(execution_id))["status"] == "cancelled"


async def test_a_task_is_polled_on_and_its_call_is_neither_repeated_nor_for_a_person(
    server: ServerProcess, tasks: TaskServer
) -> None:
    execution_id = await server.background("worker", "work")
    await until(lambda: len(tasks.looked_at) > 1)
    await server.kill()
    before = len(tasks.looked_at)
    await server.start()
    await until(lambda: len(tasks.looked_at) > before + 1)
    tasks.end("task-1")
    execution = await until_status(server, execution_id, "completed", "failed", "suspended")
    assert (execution["status"], execution["output"]) == ("completed", "done at last")
    assert len(tasks.calls) == 1
    (call,) = execution["toolCalls"]
    assert call["result"] == "done at last"


async def test_a_cancelled_execution_cancels_its_task_and_the_effect_is_unknown(
    server: ServerProcess, tasks: TaskServer
) -> None:
    execution_id = await server.background("worker", "work")
    await until(lambda: len(tasks.looked_at) > 1)
    await server.http.post(f"/v1/executions/{execution_id}/cancel")
    await until_status(server, execution_id, "cancelled")
    await until(lambda: tasks.cancelled == ["task-1"])
    answer = await server.http.post(f"/v1/executions/{execution_id}/resume")
    assert answer.status_code in {200, 202}, answer.text
    execution = await until_status(server, execution_id, "suspended", "completed", "failed")
    (pending,) = execution["pendingApprovals"]
    assert pending["kind"] == "unknown_outcome"
    assert len(tasks.calls) == 1


async def test_a_command_ends_with_the_server_that_was_killed(
    server: ServerProcess, tmp_path: Path
) -> None:
    execution_id = await server.background("actor", "act")
    await until_status(server, execution_id, "completed")
    pid = int(noted(tmp_path)[0].split()[-1])
    await server.kill()
    await until_gone(pid)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def opened(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.only(SQLITE)
async def test_hundreds_of_runs_leave_one_process_and_no_connection_more(
    server: ServerProcess, shop: SdkServer, tmp_path: Path
) -> None:
    (shop.folder / "go").touch()

    async def run(number: int) -> None:
        agent, text = ("actor", "act") if number % 2 else ("payer", "wait")
        body = {"input": text}
        answer = await server.http.post(f"/v1/agents/{agent}/execute", json=body)
        assert answer.json()["status"] == "completed", answer.text

    await asyncio.gather(*(run(number) for number in range(50)))
    before, files = children(server.pid), len(opened(server.pid))
    for _ in range(19):
        await asyncio.gather(*(run(number) for number in range(10)))
    assert children(server.pid) == before
    started = [line for line in noted(tmp_path) if line.startswith("started")]
    assert len(started) == 1
    metrics = (await server.http.get("/metrics")).text
    assert "outlast_mcp_connections 2.0" in metrics
    assert len(opened(server.pid)) <= files + 10  # as many as run at once
