"""Schedules and their runs: the tables, statements on their rows alone, and row conversions."""

from dataclasses import asdict
from typing import Any, Final

import orjson
from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Table,
    Text,
    text,
)

from outlast.model.schedule import (
    PausedReason,
    RunError,
    Schedule,
    ScheduleRun,
    Trigger,
    definition_from,
)
from outlast.store.driver import Row
from outlast.store.tables import (
    JSON,
    count,
    flag,
    identifier,
    index_of_some,
    json,
    metadata,
    time,
    to_json,
)

schedules: Final = Table(
    "schedules",
    metadata,
    identifier("id", primary_key=True),
    identifier("workspace_id"),
    identifier("agent_id"),
    Column("name", Text),
    Column("source", Text, nullable=False),
    json("definition"),
    identifier("conversation_id", nullable=True),
    identifier("key_id", nullable=True),
    Column("paused_reason", Text),
    time("next_run", nullable=True),
    time("next_at", nullable=True),
    Column("waiting", Text),
    time("last_scheduled"),
    time("last_run_at", nullable=True),
    count("failures"),
    count("missed"),
    time("created_at"),
    time("updated_at"),
    CheckConstraint("waiting IS NULL OR waiting IN ('schedule', 'manual')", name="waiting"),
    CheckConstraint("next_run IS NULL OR paused_reason IS NULL", name="next_run_when_active"),
    Index(None, "workspace_id", "id"),
    Index(None, "workspace_id", "agent_id", "id"),
    index_of_some("schedules", "next_at", "next_at"),
    Index(
        "ix_schedules_of_file",
        "agent_id",
        unique=True,
        sqlite_where=text("source <> 'api:'"),
    ),
)

schedule_runs: Final = Table(
    "schedule_runs",
    metadata,
    identifier("id", primary_key=True),
    identifier("workspace_id"),
    identifier("schedule_id"),
    Column("kind", Text, nullable=False),
    time("at"),
    time("scheduled_at", nullable=True),
    identifier("execution_id", nullable=True),
    Column("error", JSON),
    flag("late"),
    count("missed"),
    CheckConstraint("kind IN ('schedule', 'manual')", name="kind"),
    CheckConstraint("(execution_id IS NULL) <> (error IS NULL)", name="execution_or_error"),
    Index(None, "schedule_id", "id"),
    Index(None, "at"),
    Index(
        "ix_schedule_runs_scheduled_at",
        "schedule_id",
        "scheduled_at",
        unique=True,
        sqlite_where=text("scheduled_at IS NOT NULL"),
    ),
)


def schedule_from(row: Row) -> Schedule:
    """Return the schedule of a row of all columns."""
    (
        schedule_id,
        workspace_id,
        agent_id,
        name,
        source,
        definition,
        conversation_id,
        key_id,
        paused_reason,
        next_run,
        next_at,
        waiting,
        last_scheduled,
        last_run_at,
        failures,
        missed,
        created_at,
        updated_at,
    ) = row
    return Schedule(
        schedule_id,
        workspace_id,
        agent_id,
        definition_from(orjson.loads(definition)),
        created_at,
        updated_at,
        name,
        source,
        conversation_id,
        key_id,
        None if paused_reason is None else PausedReason(paused_reason),
        next_run,
        next_at,
        None if waiting is None else Trigger(waiting),
        last_scheduled,
        last_run_at,
        failures,
        missed,
    )


def schedule_columns(schedule: Schedule) -> dict[str, Any]:
    """Return all columns of a schedule."""
    return {
        "id": schedule.id,
        "workspace_id": schedule.workspace_id,
        "agent_id": schedule.agent_id,
        "name": schedule.name,
        "source": schedule.source,
        "definition": to_json(asdict(schedule.definition)),
        "conversation_id": schedule.conversation_id,
        "key_id": schedule.key_id,
        "paused_reason": schedule.paused_reason and schedule.paused_reason.value,
        "next_run": schedule.next_run,
        "next_at": schedule.next_at,
        "waiting": schedule.waiting and schedule.waiting.value,
        "last_scheduled": schedule.last_scheduled,
        "last_run_at": schedule.last_run_at,
        "failures": schedule.failures,
        "missed": schedule.missed,
        "created_at": schedule.created_at,
        "updated_at": schedule.updated_at,
    }


def run_from(row: Row) -> ScheduleRun:
    """Return the run of a row of all columns."""
    run_id, _, schedule_id, trigger, at, scheduled_at, execution_id, error, late, missed = row
    return ScheduleRun(
        run_id,
        schedule_id,
        Trigger(trigger),
        at,
        scheduled_at,
        execution_id,
        None if error is None else RunError(**orjson.loads(error)),
        bool(late),
        missed,
    )
