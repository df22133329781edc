"""The store's port, lists of executions: what is long is cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from outlast.model.approval import Approval
from outlast.model.execution import Execution, Status, ToolStep
from outlast.store.page import Page

LONGEST: Final = 8 * 1024
"""Characters of a text that a list shows."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An execution as a list shows it."""

    execution: Execution
    """What is cut: `input` and `output` behind LONGEST characters, long `metadata` altogether."""
    cut: tuple[str, ...] = ()
    """The names of the fields that were."""


@dataclass(frozen=True, slots=True)
class ShortSteps:
    """The tool calls of an execution that are short."""

    steps: tuple[ToolStep, ...] = ()
    cut: bool = False
    """Some are left out."""


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Which executions a list shows; None means any. Times are milliseconds since the epoch."""

    agent_id: str | None = None
    status: tuple[Status, ...] = ()
    conversation_id: str | None = None
    parent_id: str | None = None
    chat_id: str | None = None
    user: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    """Names and values, all of which it has; only those that were indexed are found."""
    created_from: int | None = None
    created_before: int | None = None
    started_after: int | None = None
    started_before: int | None = None


class ListStore(Protocol):
    """Executions as lists show them."""

    async def listed(self, workspace_id: str, wanted: ExecutionFilter, page: Page) -> list[Listed]:
        """Newest first, cut; one more than page.limit where there are more."""
        ...

    async def short_steps(
        self, workspace_id: str, execution_ids: Sequence[str]
    ) -> dict[str, ShortSteps]:
        """The first tool calls of each that stand, without those that are long."""
        ...

    async def approvals_by(
        self, workspace_id: str, execution_ids: Sequence[str]
    ) -> dict[str, tuple[Approval, ...]]:
        """The approvals of each, as `approvals` returns them, read in one moment."""
        ...
