"""A client of the tasks room."""

from typing import Any

import httpx2
import orjson

from outlast.engine.maintenance.due_tasks import DUE_TASKS
from outlast.testing import FakeClock
from tests.support.api import Api

PATH = "/v1/execution"


class TasksClient:
    """Sends the requests of one client, and checks the shape of every error."""

    def __init__(self, api: Api, clock: FakeClock) -> None:
        self.api, self.clock = api, clock

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        content = None if body is None else orjson.dumps(body)
        return await self.api.client.request(method, PATH + path, content=content, **more)

    async def done(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        response = await self.ask(method, path, body)
        assert response.status_code in (200, 201), response.text
        found: dict[str, Any] = response.json()["data"]
        return found

    async def create(self, **body: Any) -> str:
        return str((await self.done("POST", "", {"name": "Import"} | body))["id"])

    async def task(self, task_id: str) -> dict[str, Any]:
        return await self.done("GET", f"/{task_id}")

    async def post(self, task_id: str, verb: str, **body: Any) -> dict[str, Any]:
        return await self.done("POST", f"/{task_id}/{verb}", body)

    async def save(self, task_id: str, **body: Any) -> dict[str, Any]:
        return await self.done("PUT", f"/{task_id}/checkpoint", body)

    async def change(self, task_id: str, state: dict[str, Any]) -> dict[str, Any]:
        return await self.done("PATCH", f"/{task_id}", {"state": state})

    async def refused(
        self, method: str, path: str, body: Any = None, **more: Any
    ) -> tuple[int, str]:
        response = await self.ask(method, path, body, **more)
        error = response.json()["error"]
        assert set(error) == {"code", "message", "details", "status", "request_id"}
        assert error["status"] == response.status_code
        assert error["request_id"] == response.headers["x-request-id"]
        return response.status_code, error["code"]

    async def later(self, seconds: float) -> None:
        """Let time pass, and what is due in it be done."""
        self.clock.advance(seconds)
        await self.api.core.maintenance.run(DUE_TASKS)
