"""An execution's timeline: its steps over time, as columns for the canvas and as a table."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.spool import json_response
from outlast.model.error import ExecutionNotFound
from outlast.model.ids import EXECUTION
from outlast.model.whole_number import number_of
from outlast.model.workspace import Scope
from outlast.rooms.console.render.page import page
from outlast.rooms.console.render.timeline import columns, rows
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.transcripts import (
    PAGE,
    newest_of,
    steps_between,
    stretch_between,
)
from outlast.services.all import Services
from outlast.services.executions import ExecutionView

_DIGITS: Final = 9
_COLUMNS: Final = 1000
"""Steps that are sent at once, and the calls of the last of them."""


async def timeline(call: Call, services: Services) -> Response:
    """The steps as a table, newest first; the canvas above it is drawn from the columns."""
    view = await _view(call, services)
    now, execution = services.clock.now(), view.execution
    before = number_of(call.query_params.get("before", ""), digits=_DIGITS)
    if before is None:
        read = await newest_of(call, services, execution)
    else:
        read = await steps_between(call, services, execution, before - PAGE, before - 1)
    steps = [one for one in read.ordered if before is None or one.number < before]
    shown = steps[-PAGE:][::-1]
    return page(
        call,
        "timeline.html",
        execution=execution,
        agent=view.agent,
        rows=rows(read, shown, now),
        older=shown[-1].number if shown and (read.earlier.step or len(steps) > PAGE) else 0,
        is_first=before is None,
        may_execute=Scope.AGENTS_EXECUTE in call.principal.scopes,
    )


async def steps_in_columns(call: Call, services: Services) -> Response:
    """Steps from one on, for the canvas."""
    view = await _view(call, services)
    first = max(1, number_of(call.query_params.get("from", ""), digits=_DIGITS) or 1)
    last = first + _COLUMNS - 1
    read, later = await stretch_between(call, services, view.execution, first, last)
    return json_response(columns(read, services.clock.now(), first, later))


async def _view(call: Call, services: Services) -> ExecutionView:
    """Return an execution with a log. Raises ExecutionNotFound."""
    wanted = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    view = await services.lists.row(call.principal, wanted)
    if view.execution.is_purged:
        raise ExecutionNotFound
    return view


_AT: Final = "/executions/{executionId}/timeline"
PAGES: Final = (
    page_at(_AT, timeline, "Timeline", scope=Scope.EXECUTIONS_READ),
    page_at(f"{_AT}/columns", steps_in_columns, "Columns", scope=Scope.EXECUTIONS_READ),
)
