"""Pause, resume from a checkpoint, the checkpoints, delete: parse, call, render."""

from starlette.responses import Response

from outlast.http.document import operation
from outlast.http.request import Call
from outlast.http.spool import json_response
from outlast.model.error import ExecutionNotFound
from outlast.model.execution import Status
from outlast.model.ids import EXECUTION
from outlast.rooms.executions import answers, render, schemas
from outlast.rooms.executions.routes import EXECUTION_PATH, router
from outlast.services.all import Services


@router.post(
    "/v1/executions/{executionId}/pause",
    tags=["executions"],
    **operation(
        "pauseExecution",
        "Pause an execution",
        path=EXECUTION_PATH,
        body=schemas.PauseBody,
        answers={
            200: {"model": answers.Execution, "description": "It is paused."},
            202: {"model": answers.Execution, "description": "It pauses behind its open step."},
        },
        errors=(400, 404, 409, 413, 422),
    ),
)
async def pause_execution(call: Call) -> Response:
    """Pauses in any live state, at the next step boundary; with `now` the model request is closed.

    A request that is closed is charged for what it has shown, and made again on resume. Tools that
    run are let end. Paused already: the same answer.
    """
    services: Services = call.services
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    body = await call.body_as(schemas.PauseBody)
    view = await services.executions.pause(
        call.principal, execution_id, now=bool(body.now), reason=body.reason
    )
    paused = view.execution.status is Status.PAUSED
    return json_response(render.execution(view), 200 if paused else 202)


@router.post(
    "/v1/executions/{executionId}/resume",
    tags=["executions"],
    **operation(
        "resumeExecution",
        "Resume an execution",
        path=EXECUTION_PATH,
        body=schemas.ResumeBody,
        answers={200: {"model": answers.Execution, "description": "It goes on."}},
        errors=(400, 404, 409, 413, 422),
    ),
)
async def resume_execution(call: Call) -> Response:
    """Goes on from the newest checkpoint, or rolls back to the named one.

    What was paused, failed or cancelled goes on; what is completed is rolled back to a checkpoint.
    Later steps, checkpoints and approvals are superseded: they stay to be seen and stay charged.
    """
    services: Services = call.services
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    body = await call.body_as(schemas.ResumeBody)
    return json_response(
        render.execution(
            await services.executions.resume(call.principal, execution_id, body.checkpoint_id)
        )
    )


@router.get(
    "/v1/executions/{executionId}/checkpoints",
    tags=["executions"],
    **operation(
        "listCheckpoints",
        "List an execution's checkpoints",
        path=EXECUTION_PATH,
        answers={200: {"model": answers.Checkpoints, "description": "Oldest first."}},
        errors=(404,),
    ),
)
async def list_checkpoints(call: Call) -> Response:
    """The places that the execution can go back to, one behind every step, and superseded ones."""
    services: Services = call.services
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    return json_response(
        render.checkpoints(await services.executions.checkpoints(call.principal, execution_id))
    )


@router.delete(
    "/v1/executions/{executionId}",
    tags=["executions"],
    **operation(
        "deleteExecution",
        "Delete an execution",
        path=EXECUTION_PATH,
        answers={204: {"description": "It is gone for good."}},
        errors=(404,),
    ),
)
async def delete_execution(call: Call) -> Response:
    """Terminates it where it runs, then deletes all of it, its turn of the conversation too."""
    services: Services = call.services
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    await services.executions.delete(call.principal, execution_id)
    return Response(status_code=204)
