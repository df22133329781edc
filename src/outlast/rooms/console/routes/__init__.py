"""The room's routes, one module per screen."""

from typing import Final

from outlast.http.endpoint import Endpoint
from outlast.rooms.console.routes import (
    again,
    agents,
    approvals,
    assets,
    checkpoints,
    execution,
    executions,
    home,
    log,
    playground,
    sessions,
    usage,
)

PAGES: Final[tuple[Endpoint, ...]] = (
    *home.PAGES,
    *approvals.PAGES,
    *executions.PAGES,
    *execution.PAGES,
    *checkpoints.PAGES,
    *again.PAGES,
    *log.PAGES,
    *playground.PAGES,
    *agents.PAGES,
    *usage.PAGES,
    *sessions.PAGES,
    *assets.PAGES,
)
"""Opened by a session."""
REQUESTS: Final[tuple[Endpoint, ...]] = sessions.REQUESTS
"""Opened by a key, as in the other rooms."""
