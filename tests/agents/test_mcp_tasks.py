"""Calls that a server works on by itself: polled, cancelled, and found again by their handle."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from outlast.model.error import ToolFailed
from tests.support.mcp_http import serving
from tests.support.mcp_servers import CONTEXT, Tools, tools_of
from tests.support.mcp_tasks import TaskServer
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[TaskServer]:
    server = TaskServer()
    async with serving(server):
        yield server


@pytest.fixture
async def tools(server: TaskServer) -> AsyncIterator[Tools]:
    async with tools_of(url=server.url, timeout=1) as tools:
        yield tools


async def call(tools: Tools, **context: Any) -> Any:
    return await tools.box.call(await tools.spec("act"), {}, replace(CONTEXT, **context))


async def test_a_task_is_recorded_at_once_and_polled_past_the_timeout_of_a_call(
    server: TaskServer, tools: Tools
) -> None:
    handles: list[dict[str, Any]] = []

    async def defer(handle: dict[str, Any]) -> None:
        assert not server.looked_at
        handles.append(handle)

    calling = asyncio.create_task(call(tools, defer=defer))
    await until(lambda: len(server.looked_at) >= 25)
    assert handles == [{"task": "task-1"}]
    server.away = True
    await until(lambda: server.missed > 1)
    server.away = False
    server.end("task-1")
    assert await calling == "done at last"
    meta = server.capabilities[0]
    said = meta["io.modelcontextprotocol/clientCapabilities"]["extensions"]
    assert said == {"io.modelcontextprotocol/tasks": {}}


async def test_a_handle_finds_the_result_and_nothing_is_called(
    server: TaskServer, tools: Tools
) -> None:
    server.end("task-7")
    assert await call(tools, handle={"task": "task-7"}) == "done at last"
    assert not server.calls


@pytest.mark.parametrize(
    ("ended", "shown"),
    [
        ({"status": "failed", "error": {"code": 1, "message": "no luck"}}, "failed: no luck"),
        ({"status": "cancelled"}, "cancelled the task of this call. It is not known"),
        ({"status": "input_required", "inputRequests": {}}, "asks for input"),
        ({"status": "completed", "result": {"content": 7}}, "without a result"),
        ({"status": "odd"}, "what is not valid MCP"),
        (
            {"status": "completed", "result": {"isError": True, "content": []}},
            "gave no reason",
        ),
    ],
)
async def test_every_end_of_a_task_is_a_result_or_an_error(
    server: TaskServer, tools: Tools, ended: dict[str, Any], shown: str
) -> None:
    server.tasks["task-7"] = ended
    with pytest.raises(ToolFailed) as raised:
        await call(tools, handle={"task": "task-7"})
    assert shown in raised.value.message


async def test_a_task_that_the_server_does_not_know_or_never_answers_about_is_an_error(
    server: TaskServer, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ToolFailed, match=r"does not know the task of this call\. It is not known"):
        await call(tools, handle={"task": "task-9"})
    monkeypatch.setattr("outlast.agents.mcp.task_results._FAILURES", 2)
    spec = await tools.spec("act")
    server.away = True
    with pytest.raises(ToolFailed, match="does not say what has become of this call"):
        await tools.box.call(spec, {}, replace(CONTEXT, handle={"task": "task-9"}))


async def test_a_result_that_is_not_wanted_is_cancelled_and_waited_for_by_nothing(
    server: TaskServer, tools: Tools
) -> None:
    tools.box.give_up(tools.source, {"task": "task-3"}, CONTEXT)
    assert not server.cancelled
    await until(lambda: server.cancelled == ["task-3"])


async def test_a_cancellation_that_fails_is_sent_a_few_times(
    server: TaskServer, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.agents.mcp.task_results._PAUSES", (0.01, 0.05, 0.05))
    server.away = True
    with capture_logs() as logs:
        tools.box.give_up(tools.source, {"task": "task-3"}, CONTEXT)
        await until(lambda: server.missed > 1)
        server.away = False
        await until(lambda: server.cancelled == ["task-3"])
        server.away, server.missed = True, 0
        tools.box.give_up(tools.source, {"task": "task-4"}, CONTEXT)
        await until(lambda: bool(not_cancelled(logs)))
    assert server.missed == 4
    assert not_cancelled(logs) == ["answered 503: no"]


async def test_a_refusal_of_a_cancellation_is_final(server: TaskServer, tools: Tools) -> None:
    server.refuses_cancel = True
    with capture_logs() as logs:
        tools.box.give_up(tools.source, {"task": "task-3"}, CONTEXT)
        await until(lambda: bool(not_cancelled(logs)))
    assert server.cancelled == ["task-3"]
    assert not_cancelled(logs) == ["no such task"]


def not_cancelled(logs: list[MutableMapping[str, Any]]) -> list[str]:
    """Return why servers could not be informed."""
    return [line["cause"] for line in logs if line["event"] == "mcp.task_not_cancelled"]
