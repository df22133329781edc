"""A conversation groups executions that share one context."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation's row. Times are milliseconds since the epoch."""

    id: str
    workspace_id: str
    agent_id: str
    created_at: int
    last_active_at: int
    turns: int
    """How many executions it has had."""
    session: dict[str, Any] = field(default_factory=dict)
    """Values that the caller gave; kept for all turns of the conversation."""
    user: str | None = None
    """The caller's end user, as given when the conversation began."""
