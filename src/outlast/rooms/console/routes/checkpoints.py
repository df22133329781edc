"""An execution's checkpoints: the list, the difference of two, and the way back, with a preview."""

from collections.abc import Sequence
from typing import Final

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.model.checkpoint import Checkpoint
from outlast.model.error import CheckpointNotFound, ExecutionNotFound
from outlast.model.event import Cursor
from outlast.model.execution import LIVE, Execution, Status
from outlast.model.ids import CHECKPOINT, EXECUTION
from outlast.model.whole_number import number_of
from outlast.model.workspace import Scope
from outlast.rooms.console.render.checkpoints import (
    Point,
    Preview,
    compared,
    memory_behind,
    points,
    preview,
    preview_of_many,
)
from outlast.rooms.console.render.commands import commands
from outlast.rooms.console.render.frame import ROOT
from outlast.rooms.console.render.lines import differing, json_lines
from outlast.rooms.console.render.page import page
from outlast.rooms.console.render.transcript import Transcript
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.forms import form_of
from outlast.rooms.console.routes.tools import tools_of
from outlast.rooms.console.routes.transcripts import (
    newest_of,
    steps_between,
    steps_since,
    transcript_of,
)
from outlast.services.all import Services
from outlast.services.executions import ExecutionView
from outlast.services.step_pages import Page

_ROWS: Final = 100
_DIGITS: Final = 9
_LOOKED_AT: Final = 400
"""Steps behind a checkpoint that a preview looks at one by one; of more it has the sums."""
_OF_ALL: Final = {"first", "second"}
"""What needs all checkpoints."""
_READ: Final = Scope.EXECUTIONS_READ
_EXECUTE: Final = Scope.AGENTS_EXECUTE
_CHANGED: Final = "The execution has gone on since this page was shown. Look at it again."


async def checkpoints(call: Call, services: Services) -> Response:
    """The checkpoints, newest first, superseded ones too; two that are chosen, compared."""
    given = call.query_params
    if behind := given.get("behind"):
        return await _behind(call, services, behind)
    if not given.keys() & _OF_ALL:
        view = await services.lists.row(call.principal, _id(call))
        execution = view.execution
        if not execution.is_purged and not _has_states(execution):
            return await _stateless(call, services, view)
    view, read, found = await _found(call, services)
    by_id = {one.checkpoint.id: one for one in found}
    first, second = by_id.get(given.get("first", "")), by_id.get(given.get("second", ""))
    ids = [one.checkpoint.id for one in found]
    before = given.get("before", "")
    end = ids.index(before) if before in by_id else len(found)
    start = max(0, end - _ROWS)
    return page(
        call,
        "checkpoints.html",
        execution=view.execution,
        agent=view.agent,
        now=services.clock.now(),
        rows=found[start:end][::-1],
        older=ids[start] if start else "",
        newest=end == len(found),
        first=first,
        second=second,
        comparison=compared(first, second, read) if first and second else None,
        missing=bool(given.get("first") or given.get("second")) and not (first and second),
        may_execute=_EXECUTE in call.principal.scopes,
    )


async def _stateless(call: Call, services: Services, view: ExecutionView) -> Response:
    """Return a page of the list of an execution that saves no state: no other is looked at."""
    execution, after = view.execution, call.query_params.get("before") or None
    found, more = await services.step_pages.checkpoints(
        call.principal, execution.id, Page(_ROWS, after)
    )
    rows: list[Point] = []
    if found:
        shown = sorted(found, key=lambda one: one.place)
        ends = shown[0].step, shown[-1].step
        read = await steps_between(call, services, execution, *ends)
        rows = points(shown, {}, read)[::-1]
    return page(
        call,
        "checkpoints.html",
        execution=execution,
        agent=view.agent,
        now=services.clock.now(),
        rows=rows,
        older=found[-1].id if more else "",
        newest=after is None,
        first=None,
        second=None,
        comparison=None,
        missing=False,
        may_execute=_EXECUTE in call.principal.scopes,
    )


async def checkpoint(call: Call, services: Services) -> Response:
    """What a roll-back to this checkpoint takes back, and the form that does it."""
    return await _previewed(call, services)


async def roll_back(call: Call, services: Services) -> Response:
    """Rolls back to this checkpoint, if the execution is as the preview has shown it."""
    form = await form_of(call)
    newest = await services.step_pages.newest(call.principal, _id(call), 1)
    if form.get("seen") != _seen(newest.execution, newest.end):
        return await _previewed(call, services, problem=_CHANGED, status=409)
    checkpoint_id = call.path_id("checkpointId", CHECKPOINT, CheckpointNotFound)
    await services.executions.resume(call.principal, _id(call), checkpoint_id)
    return RedirectResponse(call.link(f"{ROOT}/executions/{_id(call)}"), 303)


async def _previewed(
    call: Call, services: Services, *, problem: str = "", status: int = 200
) -> Response:
    view, point, lost, end = await _lost(call, services)
    execution, checkpoint_id = view.execution, point.checkpoint.id
    whole: Sequence[Checkpoint] = ()
    if execution.memory_stores:
        whole = await services.executions.checkpoints(call.principal, execution.id)
    changes, cut = differing(json_lines(point.state), json_lines(execution.state))
    is_live = execution.status in LIVE and execution.status is not Status.PAUSED
    return page(
        call,
        "roll_back.html",
        status,
        execution=execution,
        agent=view.agent,
        now=services.clock.now(),
        point=point,
        seen=_seen(execution, end),
        memory=memory_behind(point.checkpoint, whole),
        lost=lost,
        code=commands(call, ["roll_back"], execution=execution.id, checkpoint=checkpoint_id),
        changes=changes,
        cut=cut,
        is_live=is_live,
        may_execute=_EXECUTE in call.principal.scopes,
        problem=problem,
    )


def _seen(execution: Execution, cursor: Cursor) -> str:
    """Return what a preview has shown; a task's state changes without an entry of the log."""
    return f"{cursor}/{execution.updated_at}" if execution.is_client_driven else str(cursor)


def _has_states(execution: Execution) -> bool:
    """Whether a checkpoint's state may be that of one before it."""
    return execution.is_client_driven or bool(execution.state)


async def _lost(call: Call, services: Services) -> tuple[ExecutionView, Point, Preview, Cursor]:
    """Return the execution, this checkpoint, what lies behind it, and the log's end.

    Raises CheckpointNotFound, ExecutionNotFound.
    """
    wanted = call.path_id("checkpointId", CHECKPOINT, CheckpointNotFound)
    view = await services.lists.row(call.principal, _id(call))
    execution = view.execution
    if execution.is_purged or _has_states(execution):
        view, read, found = await _found(call, services)
        of_id = (one for one in found if one.checkpoint.id == wanted)
        if (point := next(of_id, None)) is None:
            raise CheckpointNotFound
        tools = await tools_of(services, view.execution)
        return view, point, preview(point.checkpoint, read, tools), read.cursor
    known = await services.step_pages.checkpoint(call.principal, execution.id, wanted)
    tools, first = await tools_of(services, execution), min((known.step, *known.missing))
    sums = await services.step_pages.sums_behind(call.principal, execution.id, known.step)
    if sums.steps <= _LOOKED_AT:
        read = newest = await steps_since(call, services, execution, first)
        lost = preview(known, read, tools)
    else:
        read = await steps_between(call, services, execution, first, known.step + _LOOKED_AT)
        newest = await newest_of(call, services, execution)
        lost = preview_of_many(known, read, newest, sums, tools)
    return view, points([known], {}, read)[0], lost, newest.cursor


async def _found(call: Call, services: Services) -> tuple[ExecutionView, Transcript, list[Point]]:
    """Return the execution, its transcript and its checkpoints. Raises ExecutionNotFound."""
    view = await services.lists.row(call.principal, _id(call))
    if view.execution.is_purged:
        raise ExecutionNotFound
    task = await services.tasks.get(call.principal, view.execution.id)
    read = await transcript_of(call, services, view.execution)
    return view, read, points(task.checkpoints, task.task.first_state, read)


async def _behind(call: Call, services: Services, step: str) -> Response:
    """Lead to the checkpoint behind a step. Raises CheckpointNotFound, ExecutionNotFound."""
    view = await services.lists.row(call.principal, _id(call))
    number = number_of(step, digits=_DIGITS)
    if number is None:
        raise CheckpointNotFound
    of = call.principal, view.execution.id
    at = await services.step_pages.checkpoint_behind(*of, number)
    here = f"{ROOT}/executions/{view.execution.id}/checkpoints"
    return RedirectResponse(call.link(f"{here}/{at.id}"), 303)


def _id(call: Call) -> str:
    return call.path_id("executionId", EXECUTION, ExecutionNotFound)


_AT: Final = "/executions/{executionId}/checkpoints"
PAGES: Final = (
    page_at(_AT, checkpoints, "Checkpoints", scope=_READ),
    page_at(f"{_AT}/{{checkpointId}}", checkpoint, "Checkpoint", scope=_READ),
    page_at(f"{_AT}/{{checkpointId}}", roll_back, "RollBack", scope=_EXECUTE, method="POST"),
)
