"""The agents of the workspace, and one of them: model, instructions, tools, limits."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.error import AgentNotFound, InvalidId
from outlast.model.ids import AGENT, parse
from outlast.model.workspace import Scope
from outlast.rooms.console.render.agents import shown_agent
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.services.all import Services
from outlast.services.executions import Page

_ROWS: Final = 50
_READ: Final = Scope.AGENTS_READ


async def agents(call: Call, services: Services) -> Response:
    """The agents, newest first."""
    after = call.query_params.get("after", "")
    try:
        start = parse(AGENT, after) if after else None
    except InvalidId:
        start = None
    found, more = await services.agents.page(call.principal, Page(_ROWS, start))
    return page(
        call,
        "agents.html",
        agents=[shown_agent(one) for one in found],
        older=found[-1].id if more and found else "",
        now=services.clock.now(),
    )


async def agent(call: Call, services: Services) -> Response:
    """One agent, as its newest version is."""
    found = await services.agents.get(call.principal, call.path_text("agentId", AgentNotFound))
    return page(call, "agent.html", agent=shown_agent(found), now=services.clock.now())


PAGES: Final = (
    page_at("/agents", agents, "Agents", scope=_READ),
    page_at("/agents/{agentId}", agent, "Agent", scope=_READ),
)
