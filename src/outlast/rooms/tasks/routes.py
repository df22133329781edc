"""The routes of the tasks room: parse, call, render."""

from typing import Any, ClassVar, Final

from fastapi import APIRouter
from starlette.responses import Response

from outlast.http.body import json_object
from outlast.http.document import IDEMPOTENCY_KEY, operation
from outlast.http.errors import RenderError
from outlast.http.request import Call, kept, mark_replayed, replayed
from outlast.http.route import Route
from outlast.http.spool import json_response, whole_response
from outlast.model.error import ExecutionNotFound
from outlast.model.ids import EXECUTION
from outlast.rooms.tasks import render, schemas
from outlast.services.all import Services
from outlast.services.tasks import TaskView


class TasksRoute(Route):
    """A route of this room."""

    room = "tasks"
    render_error: ClassVar[RenderError] = staticmethod(render.error)


router = APIRouter(route_class=TasksRoute)

_ROOT: Final = "/v1/execution"
_ONE: Final = "/v1/execution/{taskId}"
_TASK: Final = {"taskId": "The task's id."}
_ANSWER: Final = {200: {"model": schemas.TaskAnswer, "description": "The task."}}


def _told(name: str, summary: str, body: type[Any] | None = None, **more: Any) -> dict[str, Any]:
    """What the document says of a route that moves or shows one task."""
    errors = (404,) if body is None else (400, 404, 409, 413, 422)
    given: dict[str, Any] = {"answers": _ANSWER, "path": _TASK, "errors": errors} | more
    return operation(name, summary, body=body, error=schemas.TaskError, **given)


def _id(call: Call) -> str:
    return call.path_id("taskId", EXECUTION, ExecutionNotFound)


def _answer(view: TaskView, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return json_response(render.task(view), status, headers)


@router.post(
    _ROOT,
    tags=["tasks"],
    **_told(
        "createTask",
        "Create a task",
        schemas.CreateTaskBody,
        path=None,
        headers=(IDEMPOTENCY_KEY,),
        answers={201: {"model": schemas.TaskAnswer, "description": "The task."}},
    ),
)
async def create_task(call: Call) -> Response:
    """Creates a task, which runs from now on.

    With `agent_id` and `input` this server runs the agent on the input. Otherwise only your calls
    move it: no worker takes it.
    """
    services: Services = call.services
    body = await call.body_as(schemas.CreateTaskBody)
    config = json_object(await call.content()).get("config")
    request = render.create_request(body, config, await call.idempotency())
    created = await services.tasks.create(call.principal, request)
    if created.answer is not None:
        return replayed(created.answer)
    task_id = created.view.execution.id
    headers = {"X-Execution-Id": task_id, "Location": call.link(f"{_ROOT}/{task_id}")}
    response = _answer(created.view, 201, headers)
    if created.replayed:
        return mark_replayed(response)
    if request.idempotency is not None:
        await services.executions.keep_answer(request.idempotency, kept(response))
    return response


@router.get(_ONE, tags=["tasks"], **_told("getTask", "Get a task"))
async def get_task(call: Call) -> Response:
    """The task as it is now; every execution of the workspace is one."""
    services: Services = call.services
    task_id = _id(call)

    async def read() -> schemas.TaskAnswer:
        return render.task(await services.tasks.get(call.principal, task_id))

    return await whole_response(call.spools, read)


@router.patch(_ONE, tags=["tasks"], **_told("updateTask", "Change the state", schemas.StateBody))
async def update_task(call: Call) -> Response:
    """Changes the state without a checkpoint; `checkpoint_interval_seconds` saves it by itself.

    A paused task goes on from a checkpoint, so its state is not changed: 409.
    """
    services: Services = call.services
    task_id = _id(call)
    body = await call.body_as(schemas.StateBody)
    return _answer(await services.tasks.change(call.principal, task_id, body.state))


@router.put(
    _ONE + "/checkpoint",
    tags=["tasks"],
    **_told("saveCheckpoint", "Save a checkpoint", schemas.CheckpointBody),
)
async def save_checkpoint(call: Call) -> Response:
    """Appends a checkpoint and sets the state; the same label and state again add nothing."""
    services: Services = call.services
    task_id = _id(call)
    body = await call.body_as(schemas.CheckpointBody)
    return _answer(await services.tasks.save(call.principal, task_id, body.label, body.state))


@router.post(
    _ONE + "/pause", tags=["tasks"], **_told("pauseTask", "Pause a task", schemas.PauseTaskBody)
)
async def pause_task(call: Call) -> Response:
    """Pauses and saves a checkpoint. Server-driven: behind the open step, or `now`.

    Paused already: the same answer.
    """
    services: Services = call.services
    task_id = _id(call)
    body = await call.body_as(schemas.PauseTaskBody)
    return _answer(
        await services.tasks.pause(call.principal, task_id, now=bool(body.now), reason=body.reason)
    )


@router.post(
    _ONE + "/resume", tags=["tasks"], **_told("resumeTask", "Resume a task", schemas.ResumeTaskBody)
)
async def resume_task(call: Call) -> Response:
    """Goes on from the newest or the named checkpoint, whose state becomes the state.

    Later checkpoints stay listed as superseded. Only what is paused or failed is resumed.
    """
    services: Services = call.services
    task_id = _id(call)
    body = await call.body_as(schemas.ResumeTaskBody)
    return _answer(await services.tasks.resume(call.principal, task_id, body.checkpoint_id))


@router.post(
    _ONE + "/complete", tags=["tasks"], **_told("completeTask", "Complete", schemas.CompleteBody)
)
async def complete_task(call: Call) -> Response:
    """Ends a client-driven task that runs, well."""
    services: Services = call.services
    task_id = _id(call)
    body = await call.body_as(schemas.CompleteBody)
    return _answer(await services.tasks.complete(call.principal, task_id, body.state, body.result))


@router.post(_ONE + "/fail", tags=["tasks"], **_told("failTask", "Fail", schemas.FailBody))
async def fail_task(call: Call) -> Response:
    """Tells that an attempt of a client-driven task failed.

    With attempts left it runs again from its newest checkpoint behind the backoff; until then, and
    without one, it is failed; or paused, where `retry.on_failure` says so.
    """
    services: Services = call.services
    task_id = _id(call)
    body = await call.body_as(schemas.FailBody)
    return _answer(await services.tasks.fail(call.principal, task_id, body.error, body.state))


@router.delete(
    _ONE,
    tags=["tasks"],
    **_told("deleteTask", "Delete a task", answers={204: {"description": "It is gone for good."}}),
)
async def delete_task(call: Call) -> Response:
    """Terminates it where it runs, then deletes all of it."""
    services: Services = call.services
    await services.tasks.delete(call.principal, _id(call))
    return Response(status_code=204)
