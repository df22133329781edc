"""An approval: a tool call that waits for a person, or what the person said."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ApprovalKind(StrEnum):
    """Why a person is asked."""

    APPROVAL = "approval"
    """The tool asks for it before every run."""
    UNKNOWN_OUTCOME = "unknown_outcome"
    """It was running when the server died; it may or may not have had its effect."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One tool call's need of a decision; decided_at is None while it waits."""

    execution_id: str
    tool_call_id: str
    kind: ApprovalKind
    name: str
    parameters: dict[str, Any]
    """As the model proposed them."""
    requested_at: int
    decided_at: int | None = None
    approved: bool | None = None
    reason: str | None = None
    effective_parameters: dict[str, Any] | None = None
    """As the person edited them; None where they stand as proposed."""
    result: Any = None
    """For unknown_outcome: it ran, and this is what it gave."""
    has_result: bool = False
    decided_by: str | None = None
    """The key of the person who decided."""
