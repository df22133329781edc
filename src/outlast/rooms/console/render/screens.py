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
    scope: Scope | None
    """What a key needs for it; None: any key opens it."""
    more: str = ""
    """Path of another screen that belongs to it."""

    def is_at(self, path: str) -> bool:
        """Whether a path below the console's is of this screen."""
        return path.startswith(self.path) or bool(self.more and path.startswith(self.more))


SCREENS: Final[tuple[Screen, ...]] = (
    Screen("/approvals", "Needs you", "inbox", "n", Scope.EXECUTIONS_READ),
    Screen("/executions", "Executions", "list", "e", Scope.EXECUTIONS_READ, "/conversations"),
    Screen("/playground", "Playground", "message-square", "p", Scope.EXECUTIONS_READ),
    Screen("/agents", "Agents", "bot", "a", Scope.AGENTS_READ),
    Screen("/schedules", "Schedules", "calendar-clock", "s", Scope.AGENTS_READ),
    Screen("/memory", "Memory", "database", "m", Scope.EXECUTIONS_READ),
    Screen("/usage", "Usage", "chart-column", "u", Scope.EXECUTIONS_READ, "/budget"),
    Screen("/system", "System", "server", "y", Scope.KEYS_MANAGE),
    Screen("/help", "Help", "circle-question-mark", "h", None),
)
