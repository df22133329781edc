"""The list of executions: filter, pages by cursor, what is new."""

from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.error import AgentNotFound, InvalidFilter, InvalidId
from outlast.model.ids import EXECUTION, parse
from outlast.model.workspace import Scope
from outlast.rooms.console.render.executions import Row, row
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.schemas import Filter, NotAFilter, filter_of
from outlast.services.all import Services
from outlast.services.executions import ExecutionFilter, Page

_ROWS: Final = 20
_READ: Final = Scope.EXECUTIONS_READ
_CHIPS: Final = (
    ("All", ""),
    ("Running", "status:running,queued"),
    ("Suspended", "status:suspended"),
    ("Paused", "status:paused"),
    ("Failed", "status:failed"),
    ("Completed", "status:completed"),
)


async def executions(call: Call, services: Services) -> Response:
    """The workspace's executions, newest first."""
    given = call.query_params
    q, after, before = given.get("q", "").strip(), _id(given, "after"), _id(given, "before")
    rows: list[Row] = []
    more, problem = False, ""
    try:
        rows, more = await _page(call, services, q, Page(_ROWS, after, before))
    except (NotAFilter, InvalidFilter, AgentNotFound) as error:
        problem = str(error)
    backwards = before is not None and after is None
    newer = (after is not None) if not backwards else more
    older = more if not backwards else True
    return page(
        call,
        "executions.html",
        q=q,
        problem=problem,
        rows=rows,
        now=services.clock.now(),
        chips=_CHIPS,
        newer=_query(q=q, before=rows[0].id) if rows and newer else "",
        older=_query(q=q, after=rows[-1].id) if rows and older else "",
        news=_query(q=q, seen=rows[0].id, at=services.clock.now()) if rows and not newer else "",
    )


async def news(call: Call, services: Services) -> Response:
    """What has changed since a first page was shown: how many are new, and statuses of its rows."""
    given = call.query_params
    q, seen = given.get("q", ""), _id(given, "seen")
    at = int(given["at"]) if given.get("at", "").isdigit() else 0
    try:
        new, more = await _page(call, services, q, Page(_ROWS, before=seen))
        shown, _ = await _page(call, services, q, Page(_ROWS))
    except (NotAFilter, InvalidFilter, AgentNotFound):
        return Response(status_code=204)
    changed = [one for one in shown if one.updated_at >= at and one.id not in {n.id for n in new}]
    if not new and not changed:
        return Response(status_code=204)
    count = f"{len(new)}+" if more else str(len(new))
    fresh = _query(q=q)
    return page(call, "executions_news.html", count=count, new=new, changed=changed, fresh=fresh)


async def _page(call: Call, services: Services, q: str, wanted: Page) -> tuple[list[Row], bool]:
    now = services.clock.now()
    wanted_ones = await _wanted(call, services, filter_of(q), now)
    if isinstance(wanted_ones, str):
        view = await services.lists.row(call.principal, wanted_ones)
        return [row(view.execution, view.agent, now)], False
    found, more = await services.lists.page(call.principal, wanted_ones, wanted)
    known = services.agents.known
    return [row(one.execution, await known.name_of(one.execution), now) for one in found], more


async def _wanted(call: Call, services: Services, said: Filter, now: int) -> ExecutionFilter | str:
    """Return the filter of the list; the id of an execution that is named."""
    if said.id is not None:
        return said.id
    agent_id = None
    if said.agent is not None:
        agent_id = await services.agents.resolve(call.principal, said.agent)
    return ExecutionFilter(
        agent_id=agent_id,
        status=said.status,
        conversation_id=said.conversation,
        parent_id=said.parent,
        user=said.user,
        metadata=said.metadata,
        created_from=None if said.since is None else now - said.since,
        created_before=None if said.before is None else now - said.before,
    )


def _id(given: Any, name: str) -> str | None:
    """Return the id of an execution in the query; None if it is none."""
    try:
        return parse(EXECUTION, given[name]) if given.get(name) else None
    except InvalidId:
        return None


def _query(**values: Any) -> str:
    """Return a query of those values that are not empty."""
    return urlencode({name: value for name, value in values.items() if value not in (None, "")})


PAGES: Final = (
    page_at("/executions", executions, "Executions", scope=_READ),
    page_at("/news/executions", news, "ExecutionsNews", scope=_READ),
)
