"""Outlast runs AI agents behind an HTTP API; executions outlast crashes, deploys and pauses.

The names below are what an agents file in Python uses, and `asgi`, the server inside another app.
Each is imported at its first use, so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outlast.agents.code import Context
    from outlast.agents.define import Agent, agent, tool
    from outlast.agents.port import ToolContext
    from outlast.agents.tools.agent_kind import agent_tool
    from outlast.agents.tools.browser_kind import browser_tools
    from outlast.agents.tools.client_kind import client_tool
    from outlast.agents.tools.mcp_kind import mcp_tools
    from outlast.agents.tools.openapi_kind import openapi_tools
    from outlast.embedded import asgi
    from outlast.model.agent import Limits, ModelChoice
    from outlast.model.error import ToolFailed
    from outlast.model.message import AssistantMessage, ToolMessage, UserMessage

    __version__: str

__all__ = [
    "Agent",
    "AssistantMessage",
    "Context",
    "Limits",
    "ModelChoice",
    "ToolContext",
    "ToolFailed",
    "ToolMessage",
    "UserMessage",
    "__version__",
    "agent",
    "agent_tool",
    "asgi",
    "browser_tools",
    "client_tool",
    "mcp_tools",
    "openapi_tools",
    "tool",
]

_HOMES = {
    "Agent": "outlast.agents.define",
    "agent": "outlast.agents.define",
    "agent_tool": "outlast.agents.tools.agent_kind",
    "asgi": "outlast.embedded",
    "browser_tools": "outlast.agents.tools.browser_kind",
    "client_tool": "outlast.agents.tools.client_kind",
    "mcp_tools": "outlast.agents.tools.mcp_kind",
    "openapi_tools": "outlast.agents.tools.openapi_kind",
    "AssistantMessage": "outlast.model.message",
    "Context": "outlast.agents.code",
    "tool": "outlast.agents.define",
    "ToolContext": "outlast.agents.port",
    "ToolFailed": "outlast.model.error",
    "ToolMessage": "outlast.model.message",
    "UserMessage": "outlast.model.message",
    "Limits": "outlast.model.agent",
    "ModelChoice": "outlast.model.agent",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("outlast")
    if name not in _HOMES:
        raise AttributeError(f"module 'outlast' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
