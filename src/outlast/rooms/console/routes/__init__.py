"""The room's routes, one module per screen."""

from typing import Final

from outlast.http.endpoint import Endpoint
from outlast.rooms.console.routes import (
    again,
    agents,
    approvals,
    assets,
    budgets,
    calls,
    checkpoints,
    chosen,
    chosen_calls,
    conversation,
    documents,
    execution,
    executions,
    home,
    log,
    memory,
    palette,
    playground,
    schedules,
    sessions,
    system,
    task,
    timeline,
    usage,
    views,
)

PAGES: Final[tuple[Endpoint, ...]] = (
    *home.PAGES,
    *approvals.PAGES,
    *calls.PAGES,
    *chosen_calls.PAGES,
    *executions.PAGES,
    *views.PAGES,
    *chosen.PAGES,
    *execution.PAGES,
    *task.PAGES,
    *conversation.PAGES,
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
    *palette.PAGES,
    *sessions.PAGES,
    *assets.PAGES,
)
"""Opened by a session."""
REQUESTS: Final[tuple[Endpoint, ...]] = sessions.REQUESTS
"""Opened by a key, as in the other rooms."""
