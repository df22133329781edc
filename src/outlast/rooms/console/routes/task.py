"""A task that its client drives: its state, its checkpoints, how long it has been active."""

from typing import Any, Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.error import ExecutionNotFound
from outlast.model.ids import EXECUTION
from outlast.model.workspace import Scope
from outlast.rooms.console.render.commands import commands
from outlast.rooms.console.render.frame import frame_of
from outlast.rooms.console.render.page import page
from outlast.rooms.console.routes.endpoints import page_at
from outlast.rooms.console.routes.transcripts import transcript_of
from outlast.rooms.console.stream import head_of
from outlast.services.all import Services
from outlast.services.executions import ExecutionView
from outlast.services.tasks import TaskView

_POINTS: Final = 10
_READ: Final = Scope.EXECUTIONS_READ


async def task_page(call: Call, services: Services, view: ExecutionView) -> Response:
    """Return the page of an execution that its client drives."""
    read = await transcript_of(call, services, view.execution)
    found = await services.tasks.get(call.principal, view.execution.id)
    head = head_of(found.execution, read, frame_of(call), fresh=True)
    return page(
        call,
        "task.html",
        agent=view.agent,
        head=head,
        code=commands(call, head["actions"].names, execution=view.execution.id),
        read=read,
        **_shown(call, found),
    )


async def news(call: Call, services: Services) -> Response:
    """What has changed since the page was shown; its clients save states without the log."""
    wanted = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    view = await services.lists.row(call.principal, wanted)
    if str(view.execution.updated_at) == call.query_params.get("at"):
        return Response(status_code=204)
    found = await services.tasks.get(call.principal, wanted)
    return page(call, "task_now.html", **_shown(call, found))


def _shown(call: Call, found: TaskView) -> dict[str, Any]:
    standing = [one for one in found.checkpoints if not one.superseded]
    return {
        "execution": found.execution,
        "task": found.task,
        "points": standing[-_POINTS:][::-1],
        "count": len(standing),
        "active": found.execution.active_by(found.now),
        "now": found.now,
        "may_execute": Scope.AGENTS_EXECUTE in call.principal.scopes,
    }


PAGES: Final = (page_at("/executions/{executionId}/task", news, "TaskNews", scope=_READ),)
