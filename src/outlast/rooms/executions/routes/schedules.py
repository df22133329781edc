"""Schedules: create, list, read, change, pause, resume, run now, delete, and their runs."""

from typing import Final

from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.endpoint import IDEMPOTENCY_KEY, Answer, Endpoint
from outlast.http.parameters import filter_value
from outlast.http.replays import mark_replayed
from outlast.http.spool import json_response
from outlast.model.error import AgentNotFound, ScheduleNotFound
from outlast.model.ids import SCHEDULE
from outlast.model.workspace import Scope
from outlast.rooms.executions import answers
from outlast.rooms.executions.routes import schedule_objects as schedules
from outlast.services.all import Services
from outlast.services.executions import Page
from outlast.services.schedules import NewSchedule

_SCHEDULE: Final = {"scheduleId": "The schedule's id."}


async def create_schedule(call: Call, services: Services) -> Response:
    """Create a schedule: the agent runs on `input` by itself, by `cron` or at `times` of the day.

    Each time runs once, however many servers there are. A run is an execution as any other.
    """
    body = await call.body_as(schedules.ScheduleBody)
    request = NewSchedule(
        body.agent_id,
        schedules.definition(body),
        body.name,
        body.conversation_id,
        await call.idempotency(),
    )
    try:
        made, is_replayed = await services.schedules.create(call.principal, request)
    except AgentNotFound as error:
        raise AgentNotFound(error.message, param="agentId") from error
    location = {"Location": call.link(f"/v1/schedules/{made.id}")}
    response = json_response(schedules.schedule(made), 201, location)
    return mark_replayed(response) if is_replayed else response


async def list_schedules(call: Call, services: Services) -> Response:
    """The workspace's schedules, newest first, or those of an agent."""
    query = call.query_as(schedules.SchedulesQuery)
    agent_id = None
    if query.agent_id is not None:
        with filter_value("agentId"):
            agent_id = await services.agents.resolve(call.principal, query.agent_id)
    page = Page(query.limit, query.after, query.before)
    found, more = await services.schedules.page(call.principal, agent_id, page)
    return json_response(schedules.page(found, more=more, backwards=page.backwards))


async def get_schedule(call: Call, services: Services) -> Response:
    """The schedule, with its next five runs."""
    found = await services.schedules.get(call.principal, _id(call))
    return json_response(schedules.schedule(found))


async def change_schedule(call: Call, services: Services) -> Response:
    """Change the fields that are sent; null gives one its default. It counts from now on.

    A schedule of an agents file is changed there: 409.
    """
    body = await call.body_as(schedules.ChangeBody)
    fields = schedules.changes(body)
    changed = await services.schedules.change(call.principal, _id(call), fields)
    return json_response(schedules.schedule(changed))


async def delete_schedule(call: Call, services: Services) -> Response:
    """Delete a schedule and the records of its runs; their executions stay."""
    await services.schedules.delete(call.principal, _id(call))
    return Response(status_code=204)


async def pause_schedule(call: Call, services: Services) -> Response:
    """Schedule no more runs until it is resumed; what runs goes on."""
    found = await services.schedules.pause(call.principal, _id(call))
    return json_response(schedules.schedule(found))


async def resume_schedule(call: Call, services: Services) -> Response:
    """Schedule runs from now on; times that passed during the pause are not made up for."""
    found = await services.schedules.resume(call.principal, _id(call))
    return json_response(schedules.schedule(found))


async def fire_schedule(call: Call, services: Services) -> Response:
    """Run it now, also while it is paused; its next time stays.

    While an earlier run is live, the schedule's `overlap` decides, or the one that is sent: skip is
    409, queue answers with `executionId` null, and it runs once the earlier one has ended.
    """
    body = await call.body_as(schedules.FireBody)
    schedule_id, promise = _id(call), await call.idempotency()
    fired = await services.schedules.fire(call.principal, schedule_id, body.overlap, promise)
    headers = {}
    if fired.run is not None and fired.run.execution_id is not None:
        execution_id = fired.run.execution_id
        headers = {
            "X-Execution-Id": execution_id,
            "Location": call.link(f"/v1/executions/{execution_id}"),
        }
    response = json_response(schedules.fired(fired), 202, headers)
    return mark_replayed(response) if fired.replayed else response


async def list_runs(call: Call, services: Services) -> Response:
    """The schedule's runs, newest first: each has an execution, or why it did not start."""
    query = call.query_as(schedules.RunsQuery)
    page = Page(query.limit, query.after, query.before)
    found, more = await services.schedules.runs(call.principal, _id(call), page)
    return json_response(schedules.runs(found, more=more, backwards=page.backwards))


def _id(call: Call) -> str:
    return call.path_id("scheduleId", SCHEDULE, ScheduleNotFound)


_PATH: Final = "/v1/schedules/{scheduleId}"

ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/schedules",
        create_schedule,
        scope=Scope.AGENTS_EXECUTE,
        name="createSchedule",
        summary="Create a schedule",
        tag="schedules",
        headers=(IDEMPOTENCY_KEY,),
        body=schedules.ScheduleBody,
        answers={201: Answer("The schedule.", answers.Schedule)},
        errors=(400, 404, 422),
    ),
    Endpoint(
        "GET",
        "/v1/schedules",
        list_schedules,
        scope=Scope.AGENTS_READ,
        name="listSchedules",
        summary="List schedules",
        tag="schedules",
        query=schedules.SchedulesQuery,
        answers={200: Answer("Newest first.", schedules.SchedulePage)},
        errors=(400,),
    ),
    Endpoint(
        "GET",
        _PATH,
        get_schedule,
        scope=Scope.AGENTS_READ,
        name="getSchedule",
        summary="Get a schedule",
        tag="schedules",
        parameters=_SCHEDULE,
        answers={200: Answer("The schedule.", answers.Schedule)},
        errors=(404,),
    ),
    Endpoint(
        "PATCH",
        _PATH,
        change_schedule,
        scope=Scope.AGENTS_EXECUTE,
        name="changeSchedule",
        summary="Change a schedule",
        tag="schedules",
        parameters=_SCHEDULE,
        body=schedules.ChangeBody,
        answers={200: Answer("As it is now.", answers.Schedule)},
        errors=(400, 404, 409, 422),
    ),
    Endpoint(
        "DELETE",
        _PATH,
        delete_schedule,
        scope=Scope.AGENTS_EXECUTE,
        name="deleteSchedule",
        summary="Delete a schedule",
        tag="schedules",
        parameters=_SCHEDULE,
        answers={204: Answer("It is deleted.")},
        errors=(404, 409),
    ),
    Endpoint(
        "POST",
        f"{_PATH}/pause",
        pause_schedule,
        scope=Scope.AGENTS_EXECUTE,
        name="pauseSchedule",
        summary="Pause a schedule",
        tag="schedules",
        parameters=_SCHEDULE,
        answers={200: Answer("It is paused.", answers.Schedule)},
        errors=(404,),
    ),
    Endpoint(
        "POST",
        f"{_PATH}/resume",
        resume_schedule,
        scope=Scope.AGENTS_EXECUTE,
        name="resumeSchedule",
        summary="Resume a schedule",
        tag="schedules",
        parameters=_SCHEDULE,
        answers={200: Answer("It is active.", answers.Schedule)},
        errors=(404, 409, 422),
    ),
    Endpoint(
        "POST",
        f"{_PATH}/fire",
        fire_schedule,
        scope=Scope.AGENTS_EXECUTE,
        name="fireSchedule",
        summary="Run a schedule now",
        tag="schedules",
        parameters=_SCHEDULE,
        headers=(IDEMPOTENCY_KEY,),
        body=schedules.FireBody,
        answers={202: Answer("The run.", schedules.FiredRun)},
        errors=(400, 404, 409, 413, 422),
    ),
    Endpoint(
        "GET",
        f"{_PATH}/runs",
        list_runs,
        scope=Scope.AGENTS_READ,
        name="listScheduleRuns",
        summary="List a schedule's runs",
        tag="schedules",
        parameters=_SCHEDULE,
        query=schedules.RunsQuery,
        answers={200: Answer("Newest first.", schedules.RunPage)},
        errors=(400, 404),
    ),
)
