"""The room's routes, one module per screen."""

from typing import Final

from outlast.http.endpoint import Endpoint
from outlast.rooms.console.routes import (
    again,
    agents,
    approvals,
    assets,
    budgets,
    checkpoints,
    documents,
    execution,
    executions,
    home,
    log,
    memory,
    playground,
    schedules,
    sessions,
    system,
    timeline,
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
    *timeline.PAGES,
    *playground.PAGES,
    *agents.PAGES,
    *schedules.PAGES,
    *memory.PAGES,
    *usage.PAGES,
    *budgets.PAGES,
    *system.PAGES,
    *documents.PAGES,
    *sessions.PAGES,
    *assets.PAGES,
)
"""Opened by a session."""
REQUESTS: Final[tuple[Endpoint, ...]] = sessions.REQUESTS
"""Opened by a key, as in the other rooms."""
