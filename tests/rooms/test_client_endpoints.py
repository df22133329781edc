"""Every operation of the main room has a method of the Python client, and each meets its endpoint.

The remote half of the command line has no way to a server but these methods: only `outlast.client`
imports the HTTP client (a contract of import-linter).
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import httpx2
import pytest
from starlette.routing import Match
from starlette.types import Scope

from outlast.client import Client, Refused
from outlast.http.endpoint import Endpoint
from outlast.http.route import Route
from outlast.http.unknown import WARNING_HEADER
from outlast.rooms.executions import room
from tests.support.api import Api

pytestmark = pytest.mark.anyio

CALLED = "tc_01k6zj3t7hf2a9q1x5m8r4c0vb"
TALK = "conv_01k6zj3t7hf2a9q1x5m8r4c0vb"
KEY = "key_01k6zj3t7hf2a9q1x5m8r4c0vb"
SCHEDULE = "sch_01k6zj3t7hf2a9q1x5m8r4c0vb"
MEMORY = "mem_01k6zj3t7hf2a9q1x5m8r4c0vb"
ITEM = "item_01k6zj3t7hf2a9q1x5m8r4c0vb"
FILTERS = {"agentId": "agent", "limit": 3}


async def _follow(client: Client, execution_id: str) -> None:
    async with aclosing(client.follow(execution_id)) as frames:
        async for frame in frames:
            if frame.type == "start":
                return


METHODS: dict[str, Callable[[Client, str], Awaitable[Any]]] = {
    "executeAgent": lambda client, _: client.execute(
        "agent", "Hi", background=True, user="ann", metadata={"a": 1}
    ),
    "getExecution": lambda client, run: client.get(run),
    "listExecutions": lambda client, _: client.list(status="completed", user="ann", **FILTERS),
    "streamExecution": _follow,
    "cancelExecution": lambda client, run: client.cancel(run),
    "pauseExecution": lambda client, run: client.pause(run, now=True, reason="lunch"),
    "resumeExecution": lambda client, run: client.resume(run),
    "listCheckpoints": lambda client, run: client.checkpoints(run),
    "deleteExecution": lambda client, run: client.delete(run),
    "createStreamTicket": lambda client, run: client.stream_ticket(run),
    "listApprovals": lambda client, _: client.approvals(limit=3),
    "decideApproval": lambda client, run: client.decide(
        run, CALLED, approved=True, reason="fine", parameters={}, result=1
    ),
    "answerClientCall": lambda client, run: client.answer(run, CALLED, {"lat": 52.5}),
    "listConversations": lambda client, _: client.conversations(user="ann", **FILTERS),
    "getConversation": lambda client, _: client.conversation(TALK),
    "exportConversation": lambda client, _: anext(client.export_conversation(TALK)),
    "getImage": lambda client, execution_id: client.image(execution_id, "img_1"),
    "deleteConversation": lambda client, _: client.delete_conversation(TALK),
    "listAgents": lambda client, _: client.agents(limit=3),
    "getAgent": lambda client, _: client.agent("agent"),
    "createKey": lambda client, _: client.create_key(
        "shop", ["agents:read"], agent_id="agent", expires_at="2099-12-31"
    ),
    "listKeys": lambda client, _: client.keys(limit=3),
    "getKey": lambda client, _: client.key(KEY),
    "revokeKey": lambda client, _: client.revoke_key(KEY),
    "listBudgets": lambda client, _: client.budgets(kind="workspace", limit=3),
    "getBudget": lambda client, _: client.budget("workspace"),
    "setBudget": lambda client, _: client.set_budget("workspace", {"maxTokens": 10**6}),
    "removeBudget": lambda client, _: client.remove_budget(KEY),
    "listViews": lambda client, _: client.views(),
    "putView": lambda client, _: client.put_view("What failed", "status:failed"),
    "removeView": lambda client, _: client.remove_view("What failed"),
    "createSchedule": lambda client, _: client.create_schedule(
        "agent", cron="@daily", timezone="Europe/Berlin", input="Go", overlap="queue"
    ),
    "listSchedules": lambda client, _: client.schedules(**FILTERS),
    "getSchedule": lambda client, _: client.schedule(SCHEDULE),
    "changeSchedule": lambda client, _: client.change_schedule(SCHEDULE, times=["09:00"]),
    "deleteSchedule": lambda client, _: client.delete_schedule(SCHEDULE),
    "pauseSchedule": lambda client, _: client.pause_schedule(SCHEDULE),
    "resumeSchedule": lambda client, _: client.resume_schedule(SCHEDULE),
    "fireSchedule": lambda client, _: client.fire_schedule(SCHEDULE, "allow"),
    "listScheduleRuns": lambda client, _: client.schedule_runs(SCHEDULE, limit=3),
    "pauseAgent": lambda client, _: client.pause_agent("agent"),
    "resumeAgent": lambda client, _: client.resume_agent("agent"),
    "getUsage": lambda client, _: client.usage(
        **{"from": "2026-01-01", "to": "2026-12-31"}, bucket="month", groupBy="agent", limit=3
    ),
    "createMemoryStore": lambda client, _: client.memory.create(
        "notes", "What we know", metadata={"a": "b"}, embedding="openai-embeddings:small"
    ),
    "listMemoryStores": lambda client, _: client.memory.list(limit=3),
    "getMemoryStore": lambda client, _: client.memory.get(MEMORY),
    "updateMemoryStore": lambda client, _: client.memory.update(MEMORY, name="n", archived=True),
    "deleteMemoryStore": lambda client, _: client.memory.delete(MEMORY),
    "searchMemoryStore": lambda client, _: client.memory.search(
        MEMORY, "tea", prefix="a", mode="text"
    ),
    "listMemoryItems": lambda client, _: client.memory.items(MEMORY, prefix="a", full=True),
    "getMemoryItem": lambda client, _: client.memory.item(MEMORY, "a/b c"),
    "putMemoryItem": lambda client, _: client.memory.put(
        MEMORY, "a/b c", "tea", metadata={"a": "b"}, if_match="0"
    ),
    "updateMemoryItem": lambda client, _: client.memory.change(MEMORY, "a/b", content="tea"),
    "deleteMemoryItem": lambda client, _: client.memory.remove(MEMORY, "a/b", purge=True),
    "redactMemoryVersion": lambda client, _: client.memory.redact(MEMORY, ITEM, 1),
    "listMemoryVersions": lambda client, _: client.memory.versions(MEMORY, ITEM, limit=3),
}


class Recorder(httpx2.AsyncBaseTransport):
    """Hands requests to the application and keeps what was sent and answered."""

    def __init__(self, api: Api) -> None:
        self._inner = httpx2.ASGITransport(api.app)
        self._house = api
        self.met: list[str] = []
        self.warnings: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._inner.handle_async_request(request)
        self.met.append(self._met(request))
        self.warnings += answer.headers.get_list(WARNING_HEADER)
        return answer

    def _met(self, request: httpx2.Request) -> str:
        """The name of the endpoint that a request goes to."""
        scope: Scope = {"type": "http", "method": request.method, "path": request.url.path}
        scope["headers"] = [(name.lower(), value) for name, value in request.headers.raw]
        return next(
            route.name
            for route in self._house.app.router.routes
            if isinstance(route, Route) and route.matches(scope)[0] is Match.FULL
        )


def test_every_operation_has_a_method() -> None:
    assert set(METHODS) == {endpoint.name for endpoint in room.endpoints}


@pytest.mark.parametrize("endpoint", room.endpoints, ids=lambda endpoint: endpoint.name)
async def test_a_method_meets_its_endpoint_and_sends_nothing_that_is_unknown_there(
    api: Api, endpoint: Endpoint
) -> None:
    execution_id = await api.started()
    recorder = Recorder(api)
    async with Client("http://house", api.key, transport=recorder) as client:
        with suppress(Refused):  # what is not there, or has ended
            await METHODS[endpoint.name](client, execution_id)
    assert recorder.met[0] == endpoint.name
    assert recorder.warnings == []
