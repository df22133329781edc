"""A task: what the client sets for an execution besides its input, and who drives it.

Server-driven: workers run it, like every execution. Client-driven: only the client's calls move it;
it is an execution without an agent's version, which no worker takes.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from outlast.model.agent import Agent, AgentSpec
from outlast.model.error import BudgetExceeded
from outlast.model.execution import CLIENT_DRIVEN, LIVE, Execution, Status
from outlast.model.ids import AGENT, WORKSPACE

AUTOMATIC: Final = "automatic"
"""Label of a checkpoint saved by the interval."""
PAUSED: Final = "paused"
"""Label of a checkpoint saved by a pause."""
OUT_OF_TIME: Final = BudgetExceeded.code
"""Failure code of a task that exceeded max_duration_seconds; it is not retried."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task's row beside its execution's. Times are milliseconds since the epoch."""

    execution_id: str
    workspace_id: str
    name: str
    saved_at: int
    """When the newest checkpoint was saved; when the task was created if there is none."""
    description: str = ""
    task_type: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    """As sent by the client; its known keys were validated."""
    first_state: dict[str, Any] = field(default_factory=dict)
    """The state to go back to if there is no checkpoint."""
    attempts: int = 1
    """Attempts since the last explicit start or resume."""
    changed: bool = False
    """Whether the state has changed since the newest checkpoint."""
    due_at: int | None = None
    """When the task next needs background work: a save, the end of its time, another attempt."""

    @property
    def interval_ms(self) -> int | None:
        """Interval at which a changed state is saved, in milliseconds."""
        return _millis(self.config.get("checkpoint_interval_seconds"))

    @property
    def max_seconds(self) -> float | None:
        """Maximum active time, in seconds."""
        found: float | None = self.config.get("max_duration_seconds")
        return found

    @property
    def _retry(self) -> dict[str, Any]:
        return self.config.get("retry") or {}

    @property
    def most_attempts(self) -> int:
        """Maximum of attempts, the first included."""
        found: int = self._retry.get("max_attempts") or 1
        return found

    @property
    def backoff_ms(self) -> int:
        """Delay before the next attempt, in milliseconds."""
        return _millis(self._retry.get("backoff_seconds")) or 0

    @property
    def pauses_in_the_end(self) -> bool:
        """Whether it is paused instead of failing for good."""
        return self._retry.get("on_failure") == "pause"

    def is_tried_again(self, code: str) -> bool:
        """Whether a failure with this code is followed by another attempt."""
        return code != OUT_OF_TIME and self.attempts < self.most_attempts

    def pauses(self, code: str) -> bool:
        """Whether a failure with this code pauses the task instead."""
        return self.pauses_in_the_end and not self.is_tried_again(code)

    def due(self, execution: Execution) -> int | None:
        """Return when a live execution next needs background work; None if never."""
        if execution.status not in LIVE or execution.status is Status.PAUSED:
            return None
        return min((at for at in (self._save_at(), end_of_time(execution)) if at), default=None)

    def _save_at(self) -> int | None:
        if self.interval_ms is None or not self.changed:
            return None
        return self.saved_at + self.interval_ms


def end_of_time(execution: Execution) -> int | None:
    """Return when a running client-driven execution exceeds its budget of seconds."""
    limit, since = execution.budget.max_seconds, execution.active_since
    if limit is None or since is None or not execution.is_client_driven:
        return None
    return since + max(0, round(limit * 1000) - execution.active_ms)


def _millis(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


CLIENT_NAME: Final = "client"
"""The name of that agent."""


def client_agent_id(workspace_id: str) -> str:
    """Return the agent id of a workspace's client-driven tasks that name no agent."""
    return AGENT + workspace_id.removeprefix(WORKSPACE)


def client_agent(workspace_id: str) -> Agent:
    """Return that agent; it has no row, and cannot run anything."""
    spec = AgentSpec(CLIENT_NAME, "none", description="The client of client-driven tasks.")
    return Agent(client_agent_id(workspace_id), workspace_id, CLIENT_DRIVEN, spec, 0, 0)
