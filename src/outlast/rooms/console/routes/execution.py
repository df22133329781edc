"""One execution: its page, its steps, its stream, and what may be done with it."""

from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.http.image import image_response
from outlast.model.error import ExecutionNotFound, InvalidCursor, NotFound, Overloaded
from outlast.model.event import START
from outlast.model.execution import Execution
from outlast.model.ids import EXECUTION
from outlast.model.image import ImageNotFound
from outlast.model.whole_number import number_of
from outlast.model.workspace import Scope
from outlast.rooms.console.render.approvals import Waiting, waiting
from outlast.rooms.console.render.commands import commands
from outlast.rooms.console.render.earlier import NOTHING, Earlier
from outlast.rooms.console.render.executions import Branch, row, tree_below
from outlast.rooms.console.render.frame import ROOT, frame_of
from outlast.rooms.console.render.page import page
from outlast.rooms.console.render.steps import Step
from outlast.rooms.console.render.transcript import Transcript
from outlast.rooms.console.routes.door import next_page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.forms import Form, form_of
from outlast.rooms.console.routes.requests import request_in
from outlast.rooms.console.routes.task import task_page
from outlast.rooms.console.routes.tools import effects_of
from outlast.rooms.console.routes.transcripts import PAGE, newest_of, steps_between
from outlast.rooms.console.stream import head_of, stream_of
from outlast.services.all import Services
from outlast.services.executions import ExecutionFilter, ExecutionView, Page

_TREE: Final = 200
_WAITS: Final = 20
_DIGITS: Final = 9
_LONGEST_REASON: Final = 500
_READ: Final = Scope.EXECUTIONS_READ
_EXECUTE: Final = Scope.AGENTS_EXECUTE


async def execution(call: Call, services: Services) -> Response:
    """An execution's page: where it is, its transcript, and the chosen step."""
    view = await services.lists.row(call.principal, _id(call))
    found = view.execution
    if found.is_client_driven and not found.is_purged:
        return await task_page(call, services, view)
    frame = frame_of(call)
    read = await newest_of(call, services, found)
    shown = await _shown(call, services, found, read)
    chosen = _number(call.query_params.get("step", ""))
    head = head_of(found, read, frame, fresh=True)
    inspected = next((one for one in shown.steps if one.number == chosen), None)
    return page(
        call,
        "execution.html",
        execution=found,
        agent=view.agent,
        now=services.clock.now(),
        head=head,
        code=commands(call, head["actions"].names, execution=found.id),
        read=read,
        shown=shown,
        chosen=inspected,
        effects={} if inspected is None else await effects_of(services, found),
        request=await request_in(call, services, found, inspected),
        tree=await _tree(call, services, found),
        spent=view.spent.credits,
        waits=await _waits(call, services, view),
        may_stop=_EXECUTE in call.principal.scopes,
        runs_again=not found.is_purged,
    )


async def step(call: Call, services: Services) -> Response:
    """One step in full, beside the transcript."""
    view = await services.lists.row(call.principal, _id(call))
    number = _number(call.path_params["number"])
    if number is None:
        raise NotFound
    read = await steps_between(call, services, view.execution, number, number)
    chosen = read.steps.get(number)
    if chosen is None:
        raise NotFound
    effects = await effects_of(services, view.execution)
    request = await request_in(call, services, view.execution, chosen)
    return page(
        call,
        "step.html",
        execution=view.execution,
        chosen=chosen,
        effects=effects,
        request=request,
    )


async def image(call: Call, services: Services) -> Response:
    """An image that one of its calls has brought."""
    image_id = call.path_text("imageId", ImageNotFound)
    return image_response(await services.images.get(call.principal, _id(call), image_id))


async def awaited(call: Call, services: Services) -> Response:
    """What it waits for now, for a page that is open."""
    view = await services.lists.row(call.principal, _id(call))
    waits = await _waits(call, services, view)
    now = services.clock.now()
    return page(call, "waits.html", execution=view.execution, waits=waits, now=now)


async def live(call: Call, services: Services) -> Response:
    """The fragments of what happens, behind a cursor."""
    if call.streams.leaving:
        raise Overloaded("The server is about to stop; another one answers soon.")
    after = call.cursor()
    found = (await services.lists.row(call.principal, _id(call))).execution
    if found.is_purged:
        raise ExecutionNotFound
    if after != START and not await services.executions.holds(call.principal, found.id, after):
        raise InvalidCursor(param=call.cursor_param)
    back = call.query_params.get("back", "")
    frame = frame_of(call) | {"back": next_page(back) if back else ""}
    behind = call.query_params.get("behind")
    earlier = Earlier.parse(behind) if behind else NOTHING
    return stream_of(call, services, found, frame, after, earlier)


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


@dataclass(frozen=True, slots=True)
class _Shown:
    """A page of steps."""

    steps: list[Step]
    earlier: int = 0
    """The number of the step that an earlier page ends with; 0: there is none."""
    later: int | None = None
    """The same of a later page; None: it is the newest one."""

    @property
    def is_newest(self) -> bool:
        """Whether it goes on with what happens."""
        return self.later is None


async def _shown(call: Call, services: Services, found: Execution, read: Transcript) -> _Shown:
    """Return the newest steps, or the page that ends with `until` or has `step`."""
    steps = read.ordered[-PAGE:]
    first, newest = (steps[0].number, steps[-1].number) if steps else (0, 0)
    until, chosen = (_number(call.query_params.get(name, "")) for name in ("until", "step"))
    if until is None and chosen is not None and chosen < first:
        until = min(-(-chosen // PAGE) * PAGE, first - 1)
    if not until or until >= newest:
        has_more = read.earlier.step or len(read.steps) > PAGE
        return _Shown(steps, first - 1 if has_more else 0)
    first = max(1, until - PAGE + 1)
    page_of = await steps_between(call, services, found, first, until)
    steps = [one for one in page_of.ordered if first <= one.number <= until]
    return _Shown(steps, first - 1, min(until + PAGE, newest))


def _number(text: str) -> int | None:
    """Return the number of a step as a query has it; None if it is none."""
    return number_of(text, digits=_DIGITS)


async def _waits(call: Call, services: Services, view: ExecutionView) -> list[Waiting]:
    """Return what it waits for, of a person or its client."""
    found = await services.approvals.open_of(call.principal, view.execution)
    return [waiting(wait, view.execution, view.agent, None) for wait in found[:_WAITS]]


async def _tree(call: Call, services: Services, found: Execution) -> list[Branch]:
    """Return what it has called, and those have."""
    if not found.children:
        return []
    of_root = ExecutionFilter(root_id=found.tree)
    listed, _ = await services.lists.page(call.principal, of_root, Page(_TREE))
    now, known = services.clock.now(), services.agents.known
    found_below = [one.execution for one in listed]
    below = await services.lists.spent_below(call.principal, found_below)
    rows: list[tuple[Any, str | None]] = [
        (row(one, await known.name_of(one), now, spent), one.parent_id)
        for one, spent in zip(found_below, below, strict=True)
    ]
    return tree_below(found.id, rows)


_AT: Final = "/executions/{executionId}"
PAGES: Final = (
    page_at(_AT, execution, "Execution", scope=_READ),
    page_at(f"{_AT}/steps/{{number}}", step, "Step", scope=_READ),
    page_at(f"{_AT}/images/{{imageId}}", image, "Image", scope=_READ),
    page_at(f"{_AT}/waits", awaited, "Waits", scope=_READ),
    page_at(f"{_AT}/live", live, "Live", scope=_READ),
    page_at(f"{_AT}/pause", pause, "Pause", scope=_EXECUTE, method="POST"),
    page_at(f"{_AT}/resume", resume, "Resume", scope=_EXECUTE, method="POST"),
    page_at(f"{_AT}/cancel", cancel, "Cancel", scope=_EXECUTE, method="POST"),
    page_at(f"{_AT}/delete", delete, "Delete", scope=_EXECUTE, method="POST"),
)
