"""Runs an execution's input again, or another one, as a new execution."""

from typing import Final

from starlette.responses import RedirectResponse, Response

from outlast.http.call import Call
from outlast.model.error import Conflict, ExecutionNotFound, InvalidField
from outlast.model.ids import EXECUTION
from outlast.model.workspace import Scope
from outlast.rooms.console.render.arguments import as_it_was
from outlast.rooms.console.render.frame import ROOT
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.forms import form_of
from outlast.services.all import Services
from outlast.services.executions import ExecutionView, StartExecution


async def again(call: Call, services: Services) -> Response:
    """The form, with the input as it was."""
    view = await _view(call, services)
    return page(call, "again.html", execution=view.execution, agent=view.agent)


async def run(call: Call, services: Services) -> Response:
    """Starts the new execution, in a conversation of its own."""
    form = await form_of(call)
    execution = (await _view(call, services)).execution
    text = as_it_was(form.get("input"), execution.input)
    if not text.strip():
        raise InvalidField("Write an input first.", param="input")
    request = StartExecution(
        text,
        session=execution.session,
        metadata=execution.metadata,
        budget=execution.budget,
        user=execution.user,
        memory_stores=execution.memory_stores or None,
    )
    started = await services.executions.start(call.principal, execution.agent_id, request)
    return RedirectResponse(call.link(f"{ROOT}/executions/{started.execution.id}"), 303)


async def _view(call: Call, services: Services) -> ExecutionView:
    """Return an execution that can run again. Raises ExecutionNotFound, Conflict."""
    wanted = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    view = await services.lists.row(call.principal, wanted)
    if view.execution.is_purged or view.execution.is_client_driven:
        raise Conflict("Its client drives it, or its content is deleted: it cannot run again.")
    return view


_AT: Final = "/executions/{executionId}/again"
PAGES: Final = (
    page_at(_AT, again, "Again", scope=Scope.AGENTS_EXECUTE),
    page_at(_AT, run, "RunAgain", scope=Scope.AGENTS_EXECUTE, method="POST"),
)
