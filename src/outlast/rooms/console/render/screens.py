"""The screens in the rail, in its order."""

from dataclasses import dataclass
from typing import Final

from outlast.model.workspace import Scope


@dataclass(frozen=True, slots=True)
class Screen:
    """A screen that the rail leads to."""

    path: str
    """Below the console's path."""
    name: str
    icon: str
    key: str
    """Pressed after `g`."""
    scope: Scope
    """What a key needs for it."""


SCREENS: Final[tuple[Screen, ...]] = (
    Screen("/approvals", "Needs you", "inbox", "n", Scope.EXECUTIONS_READ),
    Screen("/executions", "Executions", "list", "e", Scope.EXECUTIONS_READ),
    Screen("/playground", "Playground", "message-square", "p", Scope.EXECUTIONS_READ),
    Screen("/agents", "Agents", "bot", "a", Scope.AGENTS_READ),
    Screen("/usage", "Usage", "chart-column", "u", Scope.EXECUTIONS_READ),
)
