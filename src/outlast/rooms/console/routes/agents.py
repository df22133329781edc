"""The agents of the workspace, and one of them: model, instructions, tools, limits, versions."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.agent import Agent
from outlast.model.consumption import Bucket, Grouping
from outlast.model.error import AgentNotFound, InvalidId
from outlast.model.ids import AGENT, parse
from outlast.model.whole_number import number_of
from outlast.model.workspace import Scope
from outlast.rooms.console.render.agents import Activity, changes, shown_agent
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.services.all import Services
from outlast.services.executions import Page
from outlast.services.lists import HOUR
from outlast.services.usage import UsageRequest

_ROWS: Final = 50
_VERSIONS: Final = 20
_DIGITS: Final = 9
_GROUPS: Final = 1000
"""Of agents whose credits are added up; the others show none."""
_DAY: Final = 24 * HOUR
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
        activity=await _activity(call, services, [one.id for one in found]),
        older=found[-1].id if more and found else "",
        now=services.clock.now(),
    )


async def agent(call: Call, services: Services) -> Response:
    """One agent, as its newest version is; an earlier one that is chosen, compared with it."""
    found = await services.agents.get(call.principal, call.path_text("agentId", AgentNotFound))
    earlier = await _earlier(call, services, found)
    differences, cut = ([], False) if earlier is None else changes(earlier, found)
    return page(
        call,
        "agent.html",
        agent=shown_agent(found),
        prices=services.prices.of([one.name for one in found.spec.models]),
        activity=(await _activity(call, services, [found.id])).get(found.id),
        versions=list(range(found.version - 1, max(0, found.version - 1 - _VERSIONS), -1)),
        earlier=earlier,
        changes=differences,
        cut=cut,
        now=services.clock.now(),
    )


async def _earlier(call: Call, services: Services, found: Agent) -> Agent | None:
    """Return the version that the address names; None without one. Raises AgentNotFound."""
    given = call.query_params.get("version")
    if given is None:
        return None
    number = number_of(given, digits=_DIGITS)
    if number is None:
        raise AgentNotFound
    return await services.agents.version(call.principal.workspace_id, found.id, number)


async def _activity(call: Call, services: Services, ids: Sequence[str]) -> dict[str, Activity]:
    """Return what each has done in the last 24 hours, if the key may know."""
    if Scope.EXECUTIONS_READ not in call.principal.scopes:
        return {}
    now = services.clock.now()
    counts = await services.lists.of_agents(call.principal, ids, now - _DAY)
    request = UsageRequest(now - _DAY, now + 1, Bucket.DAY, Grouping.AGENT, _GROUPS)
    spent: dict[str, int] = defaultdict(int)
    for row in (await services.usage.page(call.principal, request)).rows:
        spent[row.group] += row.credits
    return {one: Activity(*both, spent[one]) for one, both in zip(ids, counts, strict=True)}


PAGES: Final = (
    page_at("/agents", agents, "Agents", scope=_READ),
    page_at("/agents/{agentId}", agent, "Agent", scope=_READ),
)
