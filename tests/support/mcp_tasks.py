"""An MCP server over HTTP, in the test's own process, that makes a task of each call."""

from typing import Any

from tests.support.http_tools import answer
from tests.support.mcp_http import SessionServer, refused, said

TASK = {
    "createdAt": "2026-11-25T10:30:00Z",
    "lastUpdatedAt": "2026-11-25T10:30:00Z",
    "ttlMs": None,
    "pollIntervalMs": 50,
}
PRIVATE = {"cacheScope": "private", "resultType": "complete"}


class TaskServer(SessionServer):
    """Speaks the protocol of 2026-07-28 with the extension for tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, dict[str, Any]] = {}
        """What each task is now, by its id."""
        self.cancelled: list[str] = []
        self.cancelled_by: list[str | None] = []
        """The header `x-user` of each."""
        self.looked_at: list[str] = []
        self.capabilities: list[Any] = []
        """What the client has said of itself with each call."""
        self.away, self.missed = False, 0
        self.refuses_cancel = False
        self.given: list[dict[str, Any]] = []
        """Input that tasks were given; a task that has it goes on."""

    def end(self, task: str, status: str = "completed", **more: Any) -> None:
        result = {"content": [{"type": "text", "text": "done at last"}]}
        self.tasks[task] = {"status": status} | (more or {"result": result})

    def _answer(self, method: str, headers: dict[str, str], message: dict[str, Any]) -> bytes:
        if self.away or method != "POST":
            self.missed += self.away
            return answer(b"no", "503 Service Unavailable")
        if message["method"].startswith("tasks/"):
            return self._of_task(message, headers)
        match message["method"]:
            case "server/discover":
                result: dict[str, Any] = {
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": {"tools": {}},
                }
            case "tools/list":
                result = {"tools": [{"name": "act", "inputSchema": {"type": "object"}}]}
            case _:
                return said(message, self._made(message["params"]))
        return said(message, {**result, "ttlMs": 60_000, **PRIVATE})

    def _made(self, params: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(params)
        self.capabilities.append(params["_meta"])
        task = f"task-{len(self.calls)}"
        self.tasks[task] = {"status": "working"}
        return {"resultType": "task", "taskId": task, "status": "working", **TASK}

    def _of_task(self, message: dict[str, Any], headers: dict[str, str]) -> bytes:
        task = message["params"]["taskId"]
        assert headers["mcp-name"] == task
        if message["method"] == "tasks/cancel":
            self.cancelled.append(task)
            self.cancelled_by.append(headers.get("x-user"))
            if self.refuses_cancel:
                return refused(message, -32602, "no such task")
            return said(message, {"resultType": "complete"})
        if message["method"] == "tasks/update":
            self.given.append(message["params"]["inputResponses"])
            self.tasks[task] = {"status": "working"}
            return said(message, {"resultType": "complete"})
        self.looked_at.append(task)
        if task not in self.tasks:
            return refused(message, -32602, "no such task")
        found = {"resultType": "complete", "taskId": task, **TASK, **self.tasks[task]}
        return said(message, found)
