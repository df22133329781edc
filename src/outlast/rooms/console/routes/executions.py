"""The list of executions: filter, pages by cursor, what is new."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.error import AgentNotFound, ExecutionNotFound, InvalidFilter, InvalidId
from outlast.model.execution import LIVE
from outlast.model.ids import EXECUTION, parse
from outlast.model.saved_view import SavedView
from outlast.model.whole_number import number_of
from outlast.model.workspace import Scope
from outlast.rooms.console.render.commands import Commands, commands
from outlast.rooms.console.render.executions import Row, hour_bars, row
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.schemas import Filter, NotAFilter, filter_of, without_times
from outlast.services.all import Services
from outlast.services.executions import ExecutionFilter, Page
from outlast.services.lists import HOUR

_ROWS: Final = 20
_HOURS: Final = 24
_LOOKED_AT: Final = 5_000
"""Executions of an agent that a page looks at for a filter of which no index leaves few."""
_NAME: Final = "mine"
"""Of a view in commands, before it has one."""
_COMMIT_MILLIS: Final = 60_000
"""More than the time from a change's date to its commit."""
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
    return await listed(call, services, call.query_params)


async def listed(
    call: Call, services: Services, given: Mapping[str, str], refused: str = "", status: int = 200
) -> Response:
    """Return the list for a query; `refused`: why its filter was not saved as a view."""
    q, after, before = given.get("q", "").strip(), _id(given, "after"), _id(given, "before")
    rows: list[Row] = []
    more, problem, further, now = False, "", None, services.clock.now()
    try:
        rows, more, further = await _page(call, services, q, Page(_ROWS, after, before))
    except (NotAFilter, InvalidFilter, AgentNotFound) as error:
        problem = str(error)
    backwards = before is not None and after is None
    newer = (after is not None) if not backwards else more
    older = more if not backwards else True
    direction = "before" if backwards else "after"
    views = await services.saved_views.all(call.principal)
    may_execute = Scope.AGENTS_EXECUTE in call.principal.scopes
    return page(
        call,
        "executions.html",
        status,
        q=q,
        views=views,
        code=_code(call, views, q),
        refused=refused,
        problem=problem,
        looked_at=_LOOKED_AT,
        further="" if further is None else _query(q=q, **{direction: further}),
        backwards=backwards,
        is_first=after is None and before is None,
        may_execute=may_execute,
        rows=rows,
        now=now,
        chips=_CHIPS,
        newer=_query(q=q, before=rows[0].id) if rows and newer else "",
        older=_query(q=q, after=rows[-1].id) if rows and older else "",
        news=_query(q=q, seen=rows[0].id, at=_since(rows, now)) if rows and not newer else "",
    )


def _since(rows: Sequence[Row], now: int) -> int:
    """Return the time since which changes of rows that were read now may not be among them.

    What changes a live one may be dated before the read and committed behind it.
    """
    live = [one.updated_at for one in rows if one.status in LIVE]
    return max(min([now, *live]), now - _COMMIT_MILLIS)


def _code(call: Call, views: Sequence[SavedView], q: str) -> dict[str, list[Commands]]:
    """Return how each view of this filter is removed, by its name; how one is saved, by none."""
    shown = [one.name for one in views if one.filter == q]
    code = {name: commands(call, ["remove_view"], view=name) for name in shown}
    return code | {"": commands(call, ["save_view"], view=_NAME, filter=q)}


async def news(call: Call, services: Services) -> Response:
    """What has changed since a first page was shown: how many are new, and statuses of its rows."""
    given = call.query_params
    q, seen = given.get("q", ""), _id(given, "seen")
    at = number_of(given.get("at", "")) or 0
    try:
        new, more, _ = await _page(call, services, q, Page(_ROWS, before=seen))
        shown, *_ = await _page(call, services, q, Page(_ROWS))
    except (NotAFilter, InvalidFilter, AgentNotFound):
        return Response(status_code=204)
    changed = [one for one in shown if one.updated_at >= at and one.id not in {n.id for n in new}]
    if not new and not changed:
        return Response(status_code=204)
    count = f"{len(new)}+" if more else str(len(new))
    fresh = _query(q=q)
    return page(call, "executions_news.html", count=count, new=new, changed=changed, fresh=fresh)


async def histogram(call: Call, services: Services) -> Response:
    """How many executions each of the last 24 hours has begun, as a filter by time."""
    q, now = call.query_params.get("q", ""), services.clock.now()
    first = now // HOUR * HOUR - (_HOURS - 1) * HOUR
    hours = [first + number * HOUR for number in range(_HOURS + 1)]
    found = await services.lists.between(call.principal, hours)
    rest = without_times(q)
    return page(
        call,
        "histogram.html",
        bars=[(bar, _query(q=f"{rest} {bar.words}".strip())) for bar in hour_bars(found)],
        q=q,
        all_hours=_query(q=rest),
        is_bounded=rest != q.strip(),
    )


async def peek(call: Call, services: Services) -> Response:
    """One execution beside the list: what it was given, where it is, what it has answered."""
    wanted = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    view = await services.lists.row(call.principal, wanted)
    now = services.clock.now()
    return page(
        call,
        "peek.html",
        execution=view.execution,
        row=row(view.execution, view.agent, now, view.below),
        now=now,
    )


async def _page(
    call: Call, services: Services, q: str, wanted: Page
) -> tuple[list[Row], bool, str | None]:
    """Return rows, whether there are more, and where it goes on if not all was looked at."""
    now, further = services.clock.now(), None
    said = filter_of(q, now)
    wanted_ones = await _wanted(call, services, said)
    if isinstance(wanted_ones, str):
        view = await services.lists.row(call.principal, wanted_ones)
        return [row(view.execution, view.agent, now, view.below)], False, None
    if said.is_wide:
        found, more, further = await services.lists.page_within(
            call.principal, wanted_ones, wanted, _LOOKED_AT
        )
    else:
        found, more = await services.lists.page(call.principal, wanted_ones, wanted)
    known = services.agents.known
    below = await services.lists.spent_below(call.principal, [one.execution for one in found])
    rows = [
        row(one.execution, await known.name_of(one.execution), now, spent)
        for one, spent in zip(found, below, strict=True)
    ]
    return rows, more, further


async def _wanted(call: Call, services: Services, said: Filter) -> ExecutionFilter | str:
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
        roots=said.roots,
        user=said.user,
        metadata=said.metadata,
        created_from=said.since,
        created_before=said.before,
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
    page_at("/news/histogram", histogram, "Histogram", scope=_READ),
    page_at("/executions/{executionId}/peek", peek, "Peek", scope=_READ),
)
