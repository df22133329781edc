"""Outlast runs AI agents behind an HTTP API; an execution outlasts whatever happens around it.

The names below are what an agents file in Python uses. Each is imported when it is first asked for,
so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outlast.agents.define import Agent, tool
    from outlast.agents.port import ToolContext
    from outlast.model.agent import Limits

    __version__: str

__all__ = ["Agent", "Limits", "ToolContext", "__version__", "tool"]

_HOMES = {
    "Agent": "outlast.agents.define",
    "tool": "outlast.agents.define",
    "ToolContext": "outlast.agents.port",
    "Limits": "outlast.model.agent",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("outlast")
    if name not in _HOMES:
        raise AttributeError(f"module 'outlast' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
