"""The store's port, tasks: what is kept beside an execution, and what is done when it is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from outlast.model.task import Task
from outlast.store.executions.values import ActiveTime


@dataclass(frozen=True, slots=True)
class SaveState:
    """A wish to keep a state, and with a checkpoint's id as a checkpoint."""

    workspace_id: str
    execution_id: str
    at: int
    state: dict[str, Any] | None = None
    """None: as it is."""
    checkpoint_id: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Attend:
    """What a task that is due may need: a moment, and an id for a checkpoint."""

    workspace_id: str
    execution_id: str
    at: int
    checkpoint_id: str


class TaskStore(Protocol):
    """What is kept beside executions that were asked for as tasks."""

    async def task(self, workspace_id: str, execution_id: str) -> Task | None:
        """The task of an execution; nothing for one of another room."""
        ...

    async def save_state(self, wish: SaveState) -> None:
        """Keep a state; with a checkpoint, unless the newest ones say the same under that label.

        Raises ExecutionNotFound, Conflict (it has ended; it is paused and no checkpoint is made).
        """
        ...

    async def due_tasks(self, now: int, limit: int) -> list[tuple[str, str]]:
        """(workspace id, execution id) of tasks that are due, longest first, of all workspaces."""
        ...

    async def attend(self, wish: Attend) -> None:
        """Do what is due for a task, if it still is: save, end its time, or try again."""
        ...

    async def seen(self, sightings: Sequence[ActiveTime]) -> None:
        """Count the time of segments that run on. A power cut may take the last moments of it."""
        ...
