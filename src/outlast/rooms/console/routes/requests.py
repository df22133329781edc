"""Reads what the request of a model step is rebuilt from."""

from outlast.http.call import Call
from outlast.model.agent import AgentSpec
from outlast.model.error import AgentNotFound
from outlast.model.execution import Execution
from outlast.model.workspace import Scope
from outlast.rooms.console.render.requests import Request, rebuilt
from outlast.rooms.console.render.steps import Step
from outlast.rooms.console.routes.transcripts import PAGE, steps_between
from outlast.services.all import Services


async def request_in(
    call: Call, services: Services, execution: Execution, chosen: Step | None
) -> Request | None:
    """Return the request of a model step; None for a call. A page of steps before it is read."""
    if chosen is None or chosen.is_tool:
        return None
    first = max(1, chosen.number - PAGE)
    read = await steps_between(call, services, execution, first, chosen.number)
    spec = await _spec(services, execution)
    has_images = spec is None or spec.images is not False
    may_read = Scope.AGENTS_READ in call.principal.scopes
    shown = spec if may_read else None
    return rebuilt(chosen.number, first, read.ordered, shown, has_images=has_images)


async def _spec(services: Services, execution: Execution) -> AgentSpec | None:
    of = execution.workspace_id, execution.agent_id, execution.agent_version
    try:
        return (await services.agents.version(*of)).spec
    except AgentNotFound:
        return None
