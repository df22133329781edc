"""The room's routes, one module per screen."""

from typing import Final

from outlast.http.endpoint import Endpoint
from outlast.rooms.console.routes import (
    agents,
    approvals,
    assets,
    execution,
    executions,
    home,
    playground,
    sessions,
    usage,
)

PAGES: Final[tuple[Endpoint, ...]] = (
    *home.PAGES,
    *approvals.PAGES,
    *executions.PAGES,
    *execution.PAGES,
    *playground.PAGES,
    *agents.PAGES,
    *usage.PAGES,
    *sessions.PAGES,
    *assets.PAGES,
)
"""Opened by a session."""
REQUESTS: Final[tuple[Endpoint, ...]] = sessions.REQUESTS
"""Opened by a key, as in the other rooms."""
