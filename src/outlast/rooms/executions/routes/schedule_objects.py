"""Schedules as the executions room reads and shows them."""

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from outlast.http.parameters import Moment, read_id
from outlast.model import schedule as core
from outlast.model.clock import iso, iso_or_none
from outlast.model.error import InvalidField
from outlast.model.execution import Budget
from outlast.model.ids import SCHEDULE
from outlast.rooms.executions.answers import Schedule
from outlast.rooms.executions.render import schedule_summary
from outlast.rooms.executions.routes.execute import memory_stores_of
from outlast.rooms.executions.schemas import (
    BODY,
    CAMEL,
    BudgetBody,
    MemoryStoreAccess,
    read_conversation_id,
)
from outlast.services.schedules import Fired

_SHOWN_RUNS: Final = 5
_OWN: Final = frozenset({"name", "conversation_id"})
"""Fields of a schedule that are no part of its definition."""
_DEFAULTS: Final = core.Definition(cron=None)

ScheduleId = Annotated[str, AfterValidator(partial(read_id, SCHEDULE))]
RunId = Annotated[str, AfterValidator(partial(read_id, "run"))]
OverlapWord = Annotated[core.Overlap, Field(strict=False)]


class ChangeBody(BaseModel):
    """Fields of a schedule to change."""

    model_config = BODY | ConfigDict(
        json_schema_extra={"examples": [{"cron": "0 9 * * MON-FRI", "timezone": "Europe/Berlin"}]}
    )

    name: Annotated[str | None, Field(min_length=1, max_length=core.LONGEST_NAME)] = None
    cron: Annotated[
        str | None,
        Field(description="Five fields, or `@daily` and its like.", examples=["0 9 * * MON-FRI"]),
    ] = None
    times: Annotated[
        list[str] | None,
        Field(
            min_length=1,
            max_length=core.MOST_TIMES,
            description="Times of every day, in the place of `cron`.",
            examples=[["09:00", "17:30"]],
        ),
    ] = None
    mode: Annotated[Literal["SCHEDULED"] | None, Field(description="The only one.")] = None
    tasks_per_day: Annotated[
        int | None,
        Field(
            ge=1,
            le=core.MOST_TIMES,
            description="The number of `times`; without them, so many from 09:00 to 17:00.",
        ),
    ] = None
    timezone: Annotated[str | None, Field(description="Of the IANA data; default: UTC.")] = None
    input: Annotated[
        str | None, Field(min_length=1, description=f"Default: `{core.DEFAULT_INPUT}`")
    ] = None
    metadata: Annotated[dict[str, Any] | None, Field(description="Of each of its executions.")] = (
        None
    )
    conversation_id: Annotated[
        str | None,
        AfterValidator(read_conversation_id),
        Field(description="Its runs are turns of it; default: each has a new conversation."),
    ] = None
    memory_stores: Annotated[
        list[str | MemoryStoreAccess] | None,
        Field(description="At most 8, by id, of each execution; default: those of the agent."),
    ] = None
    budget: Annotated[BudgetBody | None, Field(description="Of each of its executions.")] = None
    overlap: Annotated[
        OverlapWord | None, Field(description="When an earlier run is live; default: skip.")
    ] = None
    catch_up: Annotated[
        Annotated[core.CatchUp, Field(strict=False)] | None,
        Field(description="Which runs to make up for after an outage; default: last."),
    ] = None
    catch_up_window: Annotated[
        int | None,
        Field(
            ge=60,
            le=core.LONGEST_WINDOW,
            description="Seconds after which a run is not made up for; default: a day.",
        ),
    ] = None
    start_at: Annotated[Moment | None, Field(description="No run is before it.")] = None
    end_at: Annotated[Moment | None, Field(description="No run is after it.")] = None
    jitter_seconds: Annotated[
        int | None,
        Field(ge=0, le=core.MOST_JITTER, description="Each run is up to so much later."),
    ] = None
    pause_after_failures: Annotated[
        int | None,
        Field(ge=1, le=1000, description="Runs in a row that cannot start; default: 3."),
    ] = None


class ScheduleBody(ChangeBody):
    """A new schedule."""

    agent_id: Annotated[
        str | None, Field(description="An agent's id or name; default: the key's.")
    ] = None


class FireBody(BaseModel):
    """How a schedule is to run now."""

    model_config = BODY

    overlap: Annotated[
        OverlapWord | None, Field(description="In the place of the schedule's own.")
    ] = None


class RunsQuery(BaseModel):
    """Page of a schedule's runs."""

    model_config = CAMEL

    after: Annotated[RunId | None, Field(description="Show runs older than this one.")] = None
    before: Annotated[RunId | None, Field(description="Show runs newer than this one.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class SchedulesQuery(BaseModel):
    """Filter and page of the schedules."""

    model_config = CAMEL

    agent_id: Annotated[str | None, Field(description="An agent's id or name.")] = None
    after: Annotated[ScheduleId | None, Field(description="Show older ones than this.")] = None
    before: Annotated[ScheduleId | None, Field(description="Show newer ones than this.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class SchedulePage(TypedDict):
    """A page of the schedules, newest first."""

    data: list[Schedule]
    hasMore: bool
    nextCursor: Annotated[str | None, Field(description="For `after`, or for `before` going back.")]


class ScheduleRunError(TypedDict):
    """Why a run did not start."""

    code: str
    message: str


class FiredRun(TypedDict):
    """A run by hand; without `id` it waits for the end of an earlier one."""

    id: NotRequired[str]
    scheduleId: str
    trigger: core.Trigger
    executionId: str | None
    queued: bool


class ScheduleRun(TypedDict):
    """One time of a schedule; it has an execution or an error."""

    id: str
    scheduleId: str
    trigger: core.Trigger
    scheduledAt: Annotated[str | None, Field(description="Null: by hand.")]
    startedAt: Annotated[str, Field(description="When it was decided on.")]
    executionId: str | None
    error: ScheduleRunError | None
    late: Annotated[bool, Field(description="It makes up for a time that had passed.")]
    missed: Annotated[
        int, Field(description="Runs before it that were not made up for, up to 100.")
    ]


class RunPage(TypedDict):
    """A page of a schedule's runs, newest first."""

    data: list[ScheduleRun]
    hasMore: bool
    nextCursor: Annotated[str | None, Field(description="For `after`, or for `before` going back.")]


def changes(body: ChangeBody) -> dict[str, Any]:
    """Return the fields that are sent, as the core names them; null is the default."""
    known = {one.name for one in fields(core.Definition)} | _OWN
    found: dict[str, Any] = {}
    for name in body.model_fields_set & known:
        value = getattr(body, name)
        if name == "budget":
            value = None if value is None else Budget(**value.model_dump())
        if name == "memory_stores":
            value = None if value is None else memory_stores_of(value)
        default = None if name in _OWN else getattr(_DEFAULTS, name)
        found[name] = default if value is None else value
    times = core.times_of_day(body.tasks_per_day, body.times)
    if times is not None:
        found["times"] = tuple(times)
        if found.get("cron") is not None:
            raise InvalidField("times: either cron or times.", param="times")
        found["cron"] = None
    elif found.get("cron") is not None:
        found["times"] = ()
    return found


def definition(body: ChangeBody) -> core.Definition:
    """Return what a new schedule is made with."""
    given = {name: value for name, value in changes(body).items() if name not in _OWN}
    return core.Definition(**({"cron": None} | given))


def schedule(found: core.Schedule) -> Schedule:
    """Return a schedule."""
    made, budget = found.definition, found.definition.budget
    try:
        next_runs = found.next_runs(_SHOWN_RUNS)
    except InvalidField:  # its zone is not known any more
        next_runs = []
    return {
        **schedule_summary(found),
        "agentId": found.agent_id,
        "source": "file" if found.of_file else "api",
        "input": made.input,
        "metadata": made.metadata,
        "conversationId": found.conversation_id,
        "memoryStores": None
        if made.memory_stores is None
        else [{"id": one.id, "access": one.access} for one in made.memory_stores],
        "budget": {
            "maxTokens": budget.max_tokens,
            "maxCredits": budget.max_credits,
            "maxSteps": budget.max_steps,
            "maxSeconds": budget.max_seconds,
        },
        "overlap": made.overlap,
        "catchUp": made.catch_up,
        "catchUpWindow": made.catch_up_window,
        "startAt": iso_or_none(made.start_at),
        "endAt": iso_or_none(made.end_at),
        "jitterSeconds": made.jitter_seconds,
        "pauseAfterFailures": made.pause_after_failures,
        "failures": found.failures,
        "queued": found.waiting is not None,
        "nextRuns": [iso(at) for at in next_runs],
        "createdAt": iso(found.created_at),
        "updatedAt": iso(found.updated_at),
    }


def page(found: Sequence[core.Schedule], *, more: bool, backwards: bool) -> SchedulePage:
    """Return a page of schedules."""
    last = found[0 if backwards else -1].id if more else None
    return {"data": [schedule(one) for one in found], "hasMore": more, "nextCursor": last}


def fired(found: Fired) -> FiredRun:
    """Return a run by hand."""
    run = found.run
    shown: FiredRun = {
        "scheduleId": found.schedule.id,
        "trigger": core.Trigger.MANUAL,
        "executionId": None if run is None else run.execution_id,
        "queued": run is None,
    }
    return shown if run is None else {"id": run.id, **shown}


def _run(found: core.ScheduleRun) -> ScheduleRun:
    error = found.error
    return {
        "id": found.id,
        "scheduleId": found.schedule_id,
        "trigger": found.trigger,
        "scheduledAt": iso_or_none(found.scheduled_at),
        "startedAt": iso(found.at),
        "executionId": found.execution_id,
        "error": None if error is None else {"code": error.code, "message": error.message},
        "late": found.late,
        "missed": found.missed,
    }


def runs(found: Sequence[core.ScheduleRun], *, more: bool, backwards: bool) -> RunPage:
    """Return a page of runs."""
    last = found[0 if backwards else -1].id if more else None
    return {"data": [_run(one) for one in found], "hasMore": more, "nextCursor": last}
