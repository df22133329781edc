"""Tasks of MCP servers whose results are not wanted any more, where no segment runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

import outlast
from outlast.model.execution import Status
from tests.support.databases import SQLITE
from tests.support.mcp_http import serving
from tests.support.mcp_tasks import TaskServer
from tests.support.waiting import BOUND, between_looks, until

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]

SCRIPT: Final = """
turns:
  - when: lead
    steps: [{tool_calls: [{name: worker, parameters: {input: go}}]}, {text: "{result}"}]
  - when: late
    steps:
      - {tool_calls: [{name: datetime, parameters: {}}]}
      - {tool_calls: [{name: work__act, parameters: {}}]}
      - {text: "{result}"}
  - steps: [{tool_calls: [{name: work__act, parameters: {}}]}, {text: "{result}"}]
"""
AGENTS: Final = """
agents:
  - name: worker
    model: "scripted:script.yaml"
    tools: [{{builtin: datetime}}, {{name: work, mcp: {{url: "{url}"}}}}]
  - name: lead
    model: "scripted:script.yaml"
    tools: [{{agent: worker}}]
"""
QUESTION: Final = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {}}}
REQUEST: Final = {"method": "elicitation/create", "params": {"mode": "form", **QUESTION}}


@pytest.fixture
async def tasks() -> AsyncIterator[TaskServer]:
    server = TaskServer()
    async with serving(server):
        yield server


class Ours:
    """A server of ours, in this process; `open` it again as another that has called nothing."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        (folder / "script.yaml").write_text(SCRIPT)
        (folder / "agents.yaml").write_text(AGENTS.format(url=url))

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Ours"]:
        server = outlast.asgi(self._folder / "agents.yaml", data_dir=self._folder, drain_seconds=0)
        async with asyncio.timeout(BOUND), server.lifespan():
            key = server.core.settings.key_file.read_text().strip()
            headers = {"authorization": f"Bearer {key}"}
            transport = httpx2.ASGITransport(server)
            async with httpx2.AsyncClient(
                transport=transport, base_url="http://server", headers=headers
            ) as self.http:
                yield self

    async def waiting(self, tasks: TaskServer, text: str = "go") -> dict[str, Any]:
        """Return an execution that waits for the input of a task."""
        path = f"/v1/agents/{'lead' if text == 'lead' else 'worker'}/execute"
        body = {"input": text, "background": True, "forwardedHeaders": {"x-user": "me"}}
        made = await self.http.post(path, json=body)
        await until(lambda: bool(tasks.looked_at))
        tasks.end("task-1", "input_required", inputRequests={"which": REQUEST})
        found: dict[str, Any] = await self.until(made.json()["id"], Status.SUSPENDED)
        return found

    async def until(self, execution_id: str, status: Status) -> dict[str, Any]:
        while True:
            found: dict[str, Any] = (await self.http.get(f"/v1/executions/{execution_id}")).json()
            if found["status"] == status:
                return found
            await between_looks()

    async def post(self, path: str, **body: Any) -> None:
        answer = await self.http.post(path, json=body)
        assert answer.status_code < 300, answer.text


@pytest.fixture
def ours(tmp_path: Path, tasks: TaskServer, monkeypatch: pytest.MonkeyPatch) -> Ours:
    monkeypatch.chdir(tmp_path)
    return Ours(tmp_path, tasks.url)


@pytest.mark.parametrize("way", ["cancel", "delete", "conversation", "late", "lead"])
async def test_a_task_that_waits_for_input_is_cancelled_by_whoever_ends_its_execution(
    ours: Ours, tasks: TaskServer, way: str
) -> None:
    async with ours.open():
        found = await ours.waiting(tasks, way)
    execution = f"/v1/executions/{found['id']}"
    async with ours.open():
        match way:
            case "cancel" | "lead":
                await ours.post(f"{execution}/cancel")
            case "delete":
                task = f"/v1/execution/{found['id']}"
                assert (await ours.http.delete(task)).status_code == 204
            case "conversation":
                conversation = f"/v1/conversations/{found['conversationId']}"
                assert (await ours.http.delete(conversation)).status_code == 204
            case _:
                await ours.post(f"{execution}/pause")
                assert not tasks.cancelled
                await ours.post(f"{execution}/resume", checkpointId=await first(ours, execution))
        await until(lambda: bool(tasks.cancelled))
    assert (tasks.cancelled, tasks.cancelled_by) == (["task-1"], ["me"])


async def test_a_cancelled_task_is_not_gone_on_with(ours: Ours, tasks: TaskServer) -> None:
    async with ours.open():
        found = await ours.waiting(tasks)
        execution = f"/v1/executions/{found['id']}"
        tasks.away = True
        await ours.post(f"{execution}/cancel")
        tasks.away = False
        await ours.post(f"{execution}/resume")
        again = await ours.until(found["id"], Status.SUSPENDED)
        assert "pendingInputs" not in again
        (pending,) = again["pendingApprovals"]
        assert pending["kind"] == "unknown_outcome"
        await ours.post(f"{execution}/approvals/{pending['toolCallId']}", approved=True)
        await until(lambda: "task-2" in tasks.looked_at)
        tasks.end("task-2")
        assert (await ours.until(found["id"], Status.COMPLETED))["output"] == "done at last"


async def test_what_goes_on_is_not_cancelled(ours: Ours, tasks: TaskServer) -> None:
    async with ours.open():
        found = await ours.waiting(tasks)
        execution, (pending,) = f"/v1/executions/{found['id']}", found["pendingInputs"]
        await ours.post(f"{execution}/pause")
        await ours.post(f"{execution}/resume")
        call = f"{execution}/client-calls/{pending['toolCallId']}"
        await ours.post(call, result={"action": "decline"})
        await until(lambda: bool(tasks.given))
        tasks.end("task-1")
        await ours.until(found["id"], Status.COMPLETED)
        await ours.post(f"{execution}/resume", checkpointId=await first(ours, execution))
        await until(lambda: len(tasks.calls) == 2)
    assert not tasks.cancelled


async def first(ours: Ours, execution: str) -> str:
    shown = (await ours.http.get(f"{execution}/checkpoints")).json()["data"]
    return str(shown[0]["id"])
