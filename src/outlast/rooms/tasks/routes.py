"""The routes of the tasks room: parse, call, render."""

from typing import Final

from pydantic import BaseModel
from starlette.responses import Response

from outlast.http.body import json_object
from outlast.http.call import Call
from outlast.http.endpoint import IDEMPOTENCY_KEY, Answer, Endpoint, Handler, Method
from outlast.http.replays import kept, mark_replayed, replayed
from outlast.http.spool import json_response, whole_response
from outlast.model.error import ExecutionNotFound
from outlast.model.ids import EXECUTION
from outlast.model.workspace import Scope
from outlast.rooms.tasks import render, schemas
from outlast.services.all import Services
from outlast.services.tasks import TaskView

_ROOT: Final = "/v1/execution"
_ONE: Final = "/v1/execution/{taskId}"
_TASK: Final = {"taskId": "The task's id."}
_ANSWER: Final = {200: Answer("The task.", schemas.TaskAnswer)}
_ERRORS: Final = (400, 404, 409, 413, 422)


def _id(call: Call) -> str:
    return call.path_id("taskId", EXECUTION, ExecutionNotFound)


def _answer(view: TaskView, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return json_response(render.task(view), status, headers)


async def create_task(call: Call, services: Services) -> Response:
    """Creates a task, which runs from now on.

    With `agent_id` and `input` this server runs the agent on the input. Otherwise only your calls
    move it: no worker takes it.
    """
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


async def get_task(call: Call, services: Services) -> Response:
    """The task as it is now; every execution of the workspace is one."""
    task_id = _id(call)

    async def read() -> schemas.TaskAnswer:
        return render.task(await services.tasks.get(call.principal, task_id))

    return await whole_response(call.spools, read)


async def update_task(call: Call, services: Services) -> Response:
    """Changes the state without a checkpoint; `checkpoint_interval_seconds` saves it by itself.

    A paused task continues from a checkpoint, so its state is not changed: 409.
    """
    task_id = _id(call)
    body = await call.body_as(schemas.StateBody)
    return _answer(await services.tasks.change(call.principal, task_id, body.state))


async def save_checkpoint(call: Call, services: Services) -> Response:
    """Appends a checkpoint and sets the state; the same label and state again add nothing."""
    task_id = _id(call)
    body = await call.body_as(schemas.CheckpointBody)
    return _answer(await services.tasks.save(call.principal, task_id, body.label, body.state))


async def pause_task(call: Call, services: Services) -> Response:
    """Pauses and saves a checkpoint. Server-driven: after the open step, or `now`.

    Paused already: the same answer.
    """
    task_id = _id(call)
    body = await call.body_as(schemas.PauseTaskBody)
    return _answer(
        await services.tasks.pause(call.principal, task_id, now=bool(body.now), reason=body.reason)
    )


async def resume_task(call: Call, services: Services) -> Response:
    """Continues from the newest or the given checkpoint, whose state becomes the state.

    Later checkpoints stay listed as superseded. Only what is paused or failed is resumed.
    """
    task_id = _id(call)
    body = await call.body_as(schemas.ResumeTaskBody)
    return _answer(await services.tasks.resume(call.principal, task_id, body.checkpoint_id))


async def complete_task(call: Call, services: Services) -> Response:
    """Ends a client-driven task that runs, well."""
    task_id = _id(call)
    body = await call.body_as(schemas.CompleteBody)
    return _answer(await services.tasks.complete(call.principal, task_id, body.state, body.result))


async def fail_task(call: Call, services: Services) -> Response:
    """Reports that an attempt of a client-driven task failed.

    With attempts left it runs again from its newest checkpoint after the backoff; until then, and
    without one, it is failed; or paused, if `retry.on_failure` says so.
    """
    task_id = _id(call)
    body = await call.body_as(schemas.FailBody)
    return _answer(await services.tasks.fail(call.principal, task_id, body.error, body.state))


async def delete_task(call: Call, services: Services) -> Response:
    """Terminates it if it runs, then deletes all of it."""
    await services.tasks.delete(call.principal, _id(call))
    return Response(status_code=204)


def _endpoint(
    method: Method,
    path: str,
    handler: Handler,
    name: str,
    summary: str,
    body: type[BaseModel] | None = None,
) -> Endpoint:
    """Return an endpoint that changes or shows one task."""
    return Endpoint(
        method,
        path,
        handler,
        scope=Scope.EXECUTIONS_READ if method == "GET" else Scope.AGENTS_EXECUTE,
        name=name,
        summary=summary,
        tag="tasks",
        parameters=_TASK,
        body=body,
        answers={204: Answer("It is deleted for good.")} if method == "DELETE" else _ANSWER,
        errors=(404,) if body is None else _ERRORS,
    )


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        _ROOT,
        create_task,
        scope=Scope.AGENTS_EXECUTE,
        name="createTask",
        summary="Create a task",
        tag="tasks",
        headers=(IDEMPOTENCY_KEY,),
        body=schemas.CreateTaskBody,
        answers={201: Answer("The task.", schemas.TaskAnswer)},
        errors=_ERRORS,
    ),
    _endpoint("GET", _ONE, get_task, "getTask", "Get a task"),
    _endpoint("PATCH", _ONE, update_task, "updateTask", "Change the state", schemas.StateBody),
    _endpoint(
        "PUT",
        _ONE + "/checkpoint",
        save_checkpoint,
        "saveCheckpoint",
        "Save a checkpoint",
        schemas.CheckpointBody,
    ),
    _endpoint(
        "POST", _ONE + "/pause", pause_task, "pauseTask", "Pause a task", schemas.PauseTaskBody
    ),
    _endpoint(
        "POST", _ONE + "/resume", resume_task, "resumeTask", "Resume a task", schemas.ResumeTaskBody
    ),
    _endpoint(
        "POST", _ONE + "/complete", complete_task, "completeTask", "Complete", schemas.CompleteBody
    ),
    _endpoint("POST", _ONE + "/fail", fail_task, "failTask", "Fail", schemas.FailBody),
    _endpoint("DELETE", _ONE, delete_task, "deleteTask", "Delete a task"),
)
