"""Workspaces and their API keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from outlast.model.error import MissingScope


class Scope(StrEnum):
    """What an API key may do."""

    AGENTS_READ = "agents:read"
    AGENTS_EXECUTE = "agents:execute"
    EXECUTIONS_READ = "executions:read"
    APPROVALS_WRITE = "approvals:write"
    KEYS_MANAGE = "keys:manage"


class Plan(StrEnum):
    """Plan of a workspace: what is kept, how long, and how much of it."""

    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """What a memory store may hold."""

    items: int = 10_000
    bytes: int = 64 * 1024 * 1024
    """Of the contents of its items; their versions are not counted."""


USUAL_LIMITS: Final[Mapping[Plan, MemoryLimits]] = MappingProxyType(
    dict.fromkeys(Plan, MemoryLimits())
)
"""What each memory store may hold by the plan of its workspace, unless the operator sets it."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """One tenant. Times are milliseconds since the epoch."""

    id: str
    name: str
    created_at: int
    plan: Plan = Plan.ENTERPRISE
    retention_days: int | None = None
    """Its own retention, which may only be shorter than its plan's; None: its plan's."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key without its secret; only a hash of that is kept."""

    id: str
    workspace_id: str
    name: str
    scopes: frozenset[Scope]
    created_at: int
    agent_id: str | None = None
    """The agent of requests that name none."""
    expires_at: int | None = None
    revoked_at: int | None = None
    budgeted: bool = False
    """Whether its workspace has budgets, of whatever owner."""
    last_used_at: int | None = None
    """To a few minutes; None: not since this is noted."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request: the key, and the workspace that all its operations are bound to."""

    key_id: str
    workspace_id: str
    scopes: frozenset[Scope]
    agent_id: str | None = None
    """The agent of requests that name none."""
    expires_at: int | None = None
    """When the key expires, in milliseconds since the epoch."""
    budgeted: bool = False
    """Whether its workspace has budgets, of whatever owner."""

    def require(self, scope: Scope) -> None:
        """Raises MissingScope."""
        if scope not in self.scopes:
            raise MissingScope(f"This API key lacks the scope {scope.value}.")
