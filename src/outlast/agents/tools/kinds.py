"""The table of kinds of tools; one line adds a kind (see `tools.kind`)."""

from outlast.agents.tools.agent_kind import AGENT
from outlast.agents.tools.browser_kind import BROWSER
from outlast.agents.tools.builtin_kind import BUILTIN
from outlast.agents.tools.client_kind import CLIENT
from outlast.agents.tools.http_kind import HTTP
from outlast.agents.tools.kind import Resources, ToolKind, ToolRunner
from outlast.agents.tools.mcp_kind import MCP
from outlast.agents.tools.memory_kind import MEMORY
from outlast.agents.tools.openapi_kind import OPENAPI
from outlast.agents.tools.python_kind import PYTHON
from outlast.agents.tools.web_fetch_kind import WEB_FETCH
from outlast.agents.tools.web_search_kind import WEB_SEARCH

KINDS: tuple[ToolKind, ...] = (
    HTTP,
    PYTHON,
    BUILTIN,
    AGENT,
    CLIENT,
    OPENAPI,
    MCP,
    WEB_FETCH,
    WEB_SEARCH,
    BROWSER,
)
"""Kinds in the order in which errors name them."""
_UNNAMED: tuple[ToolKind, ...] = (MEMORY,)
"""Kinds of tools that the server adds by itself; no agent's spec names them."""


def find(key: str | None) -> ToolKind | None:
    """Return the kind of this key; None if this version does not know it."""
    return next((kind for kind in KINDS if kind.key == key), None)


def exactly_one(found: str) -> str:
    """Return the message for a tool with none or several kinds; `found` lists them."""
    *others, last = (kind.key for kind in KINDS)
    return f"a tool has exactly one of {', '.join(others)} and {last}; found {found}"


def runners(resources: Resources) -> dict[str | None, tuple[ToolKind, ToolRunner]]:
    """Return each kind with a runner of its own, by key."""
    return {kind.key: (kind, kind.runner(resources)) for kind in (*KINDS, *_UNNAMED)}
