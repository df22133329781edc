"""One execution: its page, its steps, its stream, and what may be done with it."""

from contextlib import aclosing
from typing import Any, Final

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.model.error import ExecutionNotFound, InvalidCursor, NotFound
from outlast.model.event import START
from outlast.model.execution import Execution
from outlast.model.ids import EXECUTION
from outlast.model.workspace import Scope
from outlast.rooms.console.render.commands import commands
from outlast.rooms.console.render.executions import Branch, row, tree_below
from outlast.rooms.console.render.frame import ROOT, frame_of
from outlast.rooms.console.render.page import page
from outlast.rooms.console.render.transcript import Step, Transcript
from outlast.rooms.console.routes.door import next_page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.forms import Form, form_of
from outlast.rooms.console.routes.task import task_page
from outlast.rooms.console.stream import head_of, stream_of
from outlast.services.all import Services
from outlast.services.executions import ExecutionFilter, Page

_WHOLE: Final = 200
"""Steps that are shown on one page."""
_TREE: Final = 200
_LONGEST_REASON: Final = 500
_READ: Final = Scope.EXECUTIONS_READ
_EXECUTE: Final = Scope.AGENTS_EXECUTE


async def execution(call: Call, services: Services) -> Response:
    """An execution's page: where it is, its transcript, and the chosen step."""
    view = await services.lists.row(call.principal, _id(call))
    found = view.execution
    read = await transcript_of(call, services, found)
    frame = frame_of(call)
    if found.is_client_driven and not found.is_purged:
        return await task_page(call, services, view, read)
    first, last = _window(call, len(read.steps))
    chosen = call.query_params.get("step", "")
    head = head_of(found, read, frame, fresh=True)
    return page(
        call,
        "execution.html",
        execution=found,
        agent=view.agent,
        now=services.clock.now(),
        head=head,
        code=commands(call, head["actions"].names, execution=found.id),
        read=read,
        steps=read.ordered[first:last],
        earlier=first,
        later=len(read.steps) - last,
        chosen=read.steps.get(int(chosen)) if chosen.isdigit() else None,
        tree=await _tree(call, services, found),
        may_stop=_EXECUTE in call.principal.scopes,
        runs_again=not found.is_purged,
    )


async def step(call: Call, services: Services) -> Response:
    """One step in full, beside the transcript."""
    view = await services.lists.row(call.principal, _id(call))
    read = await transcript_of(call, services, view.execution)
    number = call.path_params["number"]
    chosen: Step | None = read.steps.get(int(number)) if number.isdigit() else None
    if chosen is None:
        raise NotFound
    return page(call, "step.html", execution=view.execution, chosen=chosen)


async def live(call: Call, services: Services) -> Response:
    """The fragments of what happens, behind a cursor."""
    after = call.cursor()
    found = (await services.lists.row(call.principal, _id(call))).execution
    if found.is_purged:
        raise ExecutionNotFound
    if after != START and not await services.executions.holds(call.principal, found.id, after):
        raise InvalidCursor(param=call.cursor_param)
    back = call.query_params.get("back", "")
    frame = frame_of(call) | {"back": next_page(back) if back else ""}
    return stream_of(call, services, found, frame, after)


async def pause(call: Call, services: Services) -> Response:
    """Pauses at the next step; `now` aborts the model request."""
    form = await form_of(call)
    reason = form.get("reason").strip()[:_LONGEST_REASON] or None
    now = bool(form.get("now"))
    await services.executions.pause(call.principal, _id(call), now=now, reason=reason)
    return _back(call, form)


async def resume(call: Call, services: Services) -> Response:
    """Continues from the newest checkpoint."""
    form = await form_of(call)
    await services.executions.resume(call.principal, _id(call))
    return _back(call, form)


async def cancel(call: Call, services: Services) -> Response:
    """Cancels; what was written is kept and charged."""
    form = await form_of(call)
    await services.executions.cancel(call.principal, _id(call))
    return _back(call, form)


async def delete(call: Call, services: Services) -> Response:
    """Deletes for good."""
    await services.executions.delete(call.principal, _id(call))
    return RedirectResponse(call.link(f"{ROOT}/executions"), 303)


def _id(call: Call) -> str:
    return call.path_id("executionId", EXECUTION, ExecutionNotFound)


def _back(call: Call, form: Form) -> Response:
    """Lead back to where the form stands."""
    there = form.get("next")
    path = next_page(there) if there else f"{ROOT}/executions/{_id(call)}"
    return RedirectResponse(call.link(path), 303)


async def transcript_of(call: Call, services: Services, found: Execution) -> Transcript:
    """Return an execution's transcript as far as its log has come."""
    read = Transcript()
    if not found.is_purged:
        async with aclosing(services.executions.replay(call.principal, found.id)) as batches:
            async for entries in batches:
                for entry in entries:
                    read.add(entry)
    return read


def _window(call: Call, count: int) -> tuple[int, int]:
    """Return which steps are shown: the newest, or those up to `until`."""
    until = call.query_params.get("until", "")
    last = min(count, int(until)) if until.isdigit() and len(until) < len(str(count)) + 1 else count
    return max(0, last - _WHOLE), last


async def _tree(call: Call, services: Services, found: Execution) -> list[Branch]:
    """Return what it has called, and those have."""
    if not found.children:
        return []
    of_root = ExecutionFilter(root_id=found.tree)
    listed, _ = await services.lists.page(call.principal, of_root, Page(_TREE))
    now, known = services.clock.now(), services.agents.known
    rows: list[tuple[Any, str | None]] = [
        (row(one.execution, await known.name_of(one.execution), now), one.execution.parent_id)
        for one in listed
    ]
    return tree_below(found.id, rows)


_AT: Final = "/executions/{executionId}"
PAGES: Final = (
    page_at(_AT, execution, "Execution", scope=_READ),
    page_at(f"{_AT}/steps/{{number}}", step, "Step", scope=_READ),
    page_at(f"{_AT}/live", live, "Live", scope=_READ),
    page_at(f"{_AT}/pause", pause, "Pause", scope=_EXECUTE, method="POST"),
    page_at(f"{_AT}/resume", resume, "Resume", scope=_EXECUTE, method="POST"),
    page_at(f"{_AT}/cancel", cancel, "Cancel", scope=_EXECUTE, method="POST"),
    page_at(f"{_AT}/delete", delete, "Delete", scope=_EXECUTE, method="POST"),
)
