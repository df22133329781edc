"""The client's methods for schedules."""

from typing import Any

from outlast_client import types
from outlast_client.asynchronous.connection import Connection
from outlast_client.clock import Clock
from outlast_client.wire import require_ascii, segment


class ScheduleMethods:
    """A method for each operation on schedules, and the pause of their agents."""

    _connection: Connection
    _clock: Clock

    async def create_schedule(
        self, agent: str, *, idempotency_key: str | None = None, **fields: Any
    ) -> types.Schedule:
        """Create a schedule of an agent; `fields` as the API names them: cron, timezone, input."""
        body = {"agentId": agent, **fields}
        headers = self._once(idempotency_key)
        return await self._connection.persist("POST", "/v1/schedules", json=body, headers=headers)

    async def schedules(self, **filters: Any) -> types.SchedulePage:
        """A page of schedules, newest first: {data, hasMore, nextCursor}."""
        params = {name: value for name, value in filters.items() if value is not None}
        return await self._connection.ask("GET", "/v1/schedules", params=params)

    async def schedule(self, schedule_id: str) -> types.Schedule:
        """One schedule, with its next five runs."""
        return await self._connection.ask("GET", _path(schedule_id))

    async def change_schedule(self, schedule_id: str, **fields: Any) -> types.Schedule:
        """Change these fields of a schedule; None gives one its default."""
        return await self._connection.ask("PATCH", _path(schedule_id), json=fields)

    async def delete_schedule(self, schedule_id: str) -> None:
        """Delete a schedule with the records of its runs; their executions stay."""
        await self._connection.ask("DELETE", _path(schedule_id))

    async def pause_schedule(self, schedule_id: str) -> types.Schedule:
        """Schedule no more runs."""
        return await self._connection.ask("POST", f"{_path(schedule_id)}/pause")

    async def resume_schedule(self, schedule_id: str) -> types.Schedule:
        """Schedule runs from now on."""
        return await self._connection.ask("POST", f"{_path(schedule_id)}/resume")

    async def fire_schedule(
        self, schedule_id: str, overlap: str | None = None, *, idempotency_key: str | None = None
    ) -> types.FiredRun:
        """Run a schedule now: {id, executionId, queued}. Refused (409) if a run is live."""
        headers = self._once(idempotency_key)
        body = {"overlap": overlap}
        path = f"{_path(schedule_id)}/fire"
        return await self._connection.persist("POST", path, json=body, headers=headers)

    async def schedule_runs(self, schedule_id: str, **page: Any) -> types.RunPage:
        """A page of a schedule's runs, newest first: {data, hasMore, nextCursor}."""
        params = {name: value for name, value in page.items() if value is not None}
        return await self._connection.ask("GET", f"{_path(schedule_id)}/runs", params=params)

    async def pause_agent(self, id_or_name: str) -> types.Agent:
        """Pause an agent and its schedules: it starts nothing new."""
        return await self._connection.ask("POST", f"/v1/agents/{segment(id_or_name)}/pause")

    async def resume_agent(self, id_or_name: str) -> types.Agent:
        """Resume an agent and the schedules that it paused."""
        return await self._connection.ask("POST", f"/v1/agents/{segment(id_or_name)}/resume")

    def _once(self, key: str | None) -> dict[str, str]:
        require_ascii(key or "", "The Idempotency-Key", "idempotency_key")
        return {"Idempotency-Key": key or self._clock.new_id("req")}


def _path(schedule_id: str) -> str:
    return f"/v1/schedules/{segment(schedule_id)}"
