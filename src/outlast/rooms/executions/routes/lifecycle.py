"""Pause, resume from a checkpoint, the checkpoints, delete: parse, call, render."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.spool import json_response
from outlast.model.checkpoint import Checkpoint
from outlast.model.clock import iso
from outlast.model.error import ExecutionNotFound
from outlast.model.execution import Status
from outlast.model.ids import EXECUTION
from outlast.model.workspace import Scope
from outlast.rooms.executions import answers, render, schemas
from outlast.rooms.executions.routes.executions import EXECUTION_PATH
from outlast.services.all import Services


async def pause_execution(call: Call, services: Services) -> Response:
    """Pauses in any live state, at the next step boundary; with `now` the model request is closed.

    A request that is closed is charged for what it has shown, and made again on resume. Tools that
    run are let end. Paused already: the same answer.
    """
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    body = await call.body_as(schemas.PauseBody)
    view = await services.executions.pause(
        call.principal, execution_id, now=bool(body.now), reason=body.reason
    )
    paused = view.execution.status is Status.PAUSED
    return json_response(render.execution(view), 200 if paused else 202)


async def resume_execution(call: Call, services: Services) -> Response:
    """Continues from the newest checkpoint, or rolls back to the given one.

    A paused, failed or cancelled one continues; a completed one is rolled back to a checkpoint.
    Later steps, checkpoints and approvals are superseded: they stay to be seen and stay charged.
    """
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    body = await call.body_as(schemas.ResumeBody)
    return json_response(
        render.execution(
            await services.executions.resume(call.principal, execution_id, body.checkpoint_id)
        )
    )


async def list_checkpoints(call: Call, services: Services) -> Response:
    """The execution's checkpoints, one after every step, superseded ones included."""
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    found = await services.executions.checkpoints(call.principal, execution_id)
    return json_response({"data": [_checkpoint(one) for one in found]})


def _checkpoint(found: Checkpoint) -> answers.Checkpoint:
    return {
        "id": found.id,
        "step": found.step,
        "label": found.label,
        "superseded": found.superseded,
        "createdAt": iso(found.at),
        "memoryWrites": [
            {
                "storeId": one.store_id,
                "itemId": one.item_id,
                "key": one.key,
                "version": one.version,
                "deleted": one.deleted,
                "step": one.step,
            }
            for one in found.memory
        ],
    }


async def delete_execution(call: Call, services: Services) -> Response:
    """Terminates it if it runs, then deletes all of it, its turn of the conversation too."""
    execution_id = call.path_id("executionId", EXECUTION, ExecutionNotFound)
    await services.executions.delete(call.principal, execution_id)
    return Response(status_code=204)


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/executions/{executionId}/pause",
        pause_execution,
        scope=Scope.AGENTS_EXECUTE,
        name="pauseExecution",
        summary="Pause an execution",
        tag="executions",
        parameters=EXECUTION_PATH,
        body=schemas.PauseBody,
        answers={
            200: Answer("It is paused.", answers.Execution),
            202: Answer("It pauses behind its open step.", answers.Execution),
        },
        errors=(400, 404, 409, 413, 422),
    ),
    Endpoint(
        "POST",
        "/v1/executions/{executionId}/resume",
        resume_execution,
        scope=Scope.AGENTS_EXECUTE,
        name="resumeExecution",
        summary="Resume an execution",
        tag="executions",
        parameters=EXECUTION_PATH,
        body=schemas.ResumeBody,
        answers={200: Answer("It continues.", answers.Execution)},
        errors=(400, 404, 409, 413, 422),
    ),
    Endpoint(
        "GET",
        "/v1/executions/{executionId}/checkpoints",
        list_checkpoints,
        scope=Scope.EXECUTIONS_READ,
        name="listCheckpoints",
        summary="List an execution's checkpoints",
        tag="executions",
        parameters=EXECUTION_PATH,
        answers={200: Answer("Oldest first.", answers.Checkpoints)},
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        "/v1/executions/{executionId}",
        delete_execution,
        scope=Scope.AGENTS_EXECUTE,
        name="deleteExecution",
        summary="Delete an execution",
        tag="executions",
        parameters=EXECUTION_PATH,
        answers={204: Answer("It is deleted for good.")},
        errors=(404,),
    ),
)
