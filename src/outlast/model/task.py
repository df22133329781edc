"""A task: what the client says of an execution beside its input, and who moves it.

Server-driven: workers run it, as every execution. Client-driven: only the client's calls move it;
it is an execution without an agent's version, which no worker takes.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from outlast.model.agent import Agent, AgentSpec
from outlast.model.error import BudgetExceeded
from outlast.model.execution import CLIENT_DRIVEN, LIVE, Execution, Status
from outlast.model.ids import AGENT, WORKSPACE

AUTOMATIC: Final = "automatic"
"""The label of a checkpoint that the interval has saved."""
PAUSED: Final = "paused"
"""The label of a checkpoint that a pause has saved."""
OUT_OF_TIME: Final = BudgetExceeded.code
"""The failure of a task whose max_duration_seconds are over; it is not tried again."""


@dataclass(frozen=True, slots=True)
class Task:
    """The row beside an execution's. Times are milliseconds since the epoch."""

    execution_id: str
    workspace_id: str
    name: str
    saved_at: int
    """When the newest checkpoint was saved; before the first, when the task was made."""
    description: str = ""
    task_type: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    """As the client has sent it; its known keys were checked."""
    first_state: dict[str, Any] = field(default_factory=dict)
    """What there is to go back to before the first checkpoint."""
    attempts: int = 1
    """Attempts since the last explicit start or resume."""
    changed: bool = False
    """Whether the state has changed since the newest checkpoint."""
    due_at: int | None = None
    """When the task next needs background work: a save, the end of its time, another attempt."""

    @property
    def interval_ms(self) -> int | None:
        """How often a changed state is saved without a call."""
        return _millis(self.config.get("checkpoint_interval_seconds"))

    @property
    def max_seconds(self) -> float | None:
        """Active time that it may take."""
        found: float | None = self.config.get("max_duration_seconds")
        return found

    @property
    def _retry(self) -> dict[str, Any]:
        return self.config.get("retry") or {}

    @property
    def backoff_ms(self) -> int:
        """How long a failed attempt is followed by nothing."""
        return _millis(self._retry.get("backoff_seconds")) or 0

    @property
    def pauses_in_the_end(self) -> bool:
        """Whether it is paused where it would otherwise have failed for good."""
        return self._retry.get("on_failure") == "pause"

    def is_tried_again(self, code: str) -> bool:
        """Whether a failure of this code leaves an attempt."""
        return code != OUT_OF_TIME and self.attempts < (self._retry.get("max_attempts") or 1)

    def pauses(self, code: str) -> bool:
        """Whether a failure of this code is a pause instead."""
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
    """When the budget of seconds of a client-driven execution that runs is spent."""
    limit, since = execution.budget.max_seconds, execution.active_since
    if limit is None or since is None or not execution.is_client_driven:
        return None
    return since + max(0, round(limit * 1000) - execution.active_ms)


def _millis(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


CLIENT_NAME: Final = "client"
"""The name of that agent."""


def client_agent_id(workspace_id: str) -> str:
    """The agent of a workspace's client-driven tasks that name none: the client itself."""
    return AGENT + workspace_id.removeprefix(WORKSPACE)


def client_agent(workspace_id: str) -> Agent:
    """The same as a value; it has no row, and nothing can be run with it."""
    spec = AgentSpec(CLIENT_NAME, "none", description="Whoever moves client-driven tasks.")
    return Agent(client_agent_id(workspace_id), workspace_id, CLIENT_DRIVEN, spec, 0, 0)
