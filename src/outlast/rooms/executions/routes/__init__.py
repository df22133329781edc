"""The endpoints of the executions room, a module per resource: parse, call, render."""

from typing import Final

from outlast.rooms.executions.routes import (
    agents,
    approvals,
    budgets,
    client_calls,
    conversations,
    executions,
    export,
    images,
    keys,
    lifecycle,
    memory_items,
    memory_search,
    memory_stores,
    memory_versions,
    saved_views,
    schedules,
    tickets,
    usage,
)

ENDPOINTS: Final = (
    *executions.ENDPOINTS,
    *agents.ENDPOINTS,
    *approvals.ENDPOINTS,
    *client_calls.ENDPOINTS,
    *conversations.ENDPOINTS,
    *export.ENDPOINTS,
    *images.ENDPOINTS,
    *lifecycle.ENDPOINTS,
    *tickets.ENDPOINTS,
    *keys.ENDPOINTS,
    *schedules.ENDPOINTS,
    *usage.ENDPOINTS,
    *budgets.ENDPOINTS,
    *saved_views.ENDPOINTS,
    *memory_stores.ENDPOINTS,
    *memory_search.ENDPOINTS,
    *memory_versions.ENDPOINTS,
    *memory_items.ENDPOINTS,
)
