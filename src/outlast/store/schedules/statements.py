"""Statements on schedules and their runs."""

from collections.abc import Sequence
from functools import cache
from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    delete,
    insert,
    literal_column,
    null,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.schedule import Schedule, ScheduleRun
from outlast.store.agents import agent_versions, agents
from outlast.store.budgets.tables import budgets
from outlast.store.driver import Batch, BatchStatement, Query, Statement
from outlast.store.executions.tables import executions
from outlast.store.schedules.rows import schedule_columns, schedule_runs, schedules
from outlast.store.tables import given, to_json

INSERT_SCHEDULE: Final = Statement(insert(schedules))

INSERT_SCHEDULE_RUN: Final = Statement(insert(schedule_runs))

_schedule: Final = select(*schedules.c).where(
    schedules.c.id == bindparam("id"), schedules.c.workspace_id == bindparam("workspace")
)

SCHEDULE: Final = Statement(_schedule)

LOCK_SCHEDULE: Final = Statement(_schedule.with_for_update())
"""Locks a schedule: no process fires or changes it until this transaction ends."""

_live: Final = (
    select(literal_column("1"))
    .where(executions.c.schedule_id == schedules.c.id, executions.c.completed_at.is_(None))
    .exists()
)
_busy: Final = (
    select(literal_column("1"))
    .where(
        executions.c.workspace_id == schedules.c.workspace_id,
        executions.c.conversation_id == schedules.c.conversation_id,
        executions.c.completed_at.is_(None),
    )
    .exists()
)


def _due(now: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether it is due; a run that waits is due once nothing is live before it."""
    return and_(
        schedules.c.next_at <= now,
        or_(schedules.c.waiting.is_(None), and_(~_live, ~_busy)),
    )


DUE_SCHEDULES: Final = Statement(
    select(schedules.c.id, schedules.c.next_at)
    .where(_due(bindparam("now", type_=BigInteger())))
    .order_by(schedules.c.next_at)
    .limit(bindparam("limit"))
)
"""Of all workspaces: read at an interval, and nothing is locked."""

_now: Final = given(id=Text(), now=BigInteger())

LOCK_DUE_SCHEDULES: Final = BatchStatement(
    select(*schedules.c)
    .where(_due(bindparam("now", type_=BigInteger())), schedules.c.id == bindparam("id"))
    .with_for_update(of=schedules, skip_locked=True),
    arrays=select(*schedules.c)
    .join(_now, _now.c.id == schedules.c.id)
    .where(_due(_now.c.now))
    .with_for_update(of=schedules, skip_locked=True),
)
"""Locks these if they are due still; those that another process fires are left out."""

_live_of: Final = select(*executions.c).order_by(executions.c.id)

LIVE_OF_SCHEDULES: Final = BatchStatement(
    _live_of.where(
        executions.c.schedule_id == bindparam("id"), executions.c.completed_at.is_(None)
    ),
    arrays=_live_of.where(
        executions.c.schedule_id == any_(cast(bindparam("id"), ARRAY(Text()))),
        executions.c.completed_at.is_(None),
    ),
)
"""The live executions that schedules have started; the schedules' rows are locked."""

_budgeted: Final = (
    select(literal_column("1"))
    .where(budgets.c.workspace_id == agents.c.workspace_id, text("NOT is_tree"))
    .correlate(agents)
    .exists()
)

_startable: Final = select(
    agents.c.id,
    agents.c.workspace_id,
    agents.c.version,
    agents.c.name,
    agents.c.paused,
    agents.c.retired_at,
    _budgeted,
    agent_versions.c.spec,
).join(
    agent_versions,
    and_(
        agent_versions.c.agent_id == agents.c.id,
        agent_versions.c.version == agents.c.version,
    ),
)
_agent: Final = given(id=Text(), workspace=Text())

STARTABLE: Final = BatchStatement(
    _startable.where(
        agents.c.id == bindparam("id"), agents.c.workspace_id == bindparam("workspace")
    ),
    arrays=_startable.join(
        _agent, and_(_agent.c.id == agents.c.id, _agent.c.workspace == agents.c.workspace_id)
    ),
)
"""What runs need to know of their agents."""

CHANGE_SCHEDULE: Final = Statement(
    update(schedules)
    .where(schedules.c.id == bindparam("given_id"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in schedules.c.keys()  # noqa: SIM118 - not a dict
            if name not in {"id", "workspace_id", "key_id", "created_at"}
        }
    )
)
"""The row is locked. It is not joined with others: a batch would have a text for each mixture."""

_MOVED: Final = (
    "paused_reason",
    "next_run",
    "next_at",
    "waiting",
    "last_scheduled",
    "last_run_at",
    "failures",
    "missed",
    "updated_at",
)
"""What changes when a schedule is fired."""
_moved: Final = given(given_id=Text(), **{f"new_{name}": schedules.c[name].type for name in _MOVED})

MOVE_SCHEDULES: Final = BatchStatement(
    update(schedules)
    .where(schedules.c.id == bindparam("given_id"))
    .values({name: bindparam(f"new_{name}") for name in _MOVED}),
    arrays=update(schedules)
    .where(schedules.c.id == _moved.c.given_id)
    .values({name: _moved.c[f"new_{name}"] for name in _MOVED}),
)
"""Writes schedules that were fired; the rows are locked."""

PARK_SCHEDULE: Final = Statement(
    update(schedules)
    .where(schedules.c.id == bindparam("given_id"))
    .values(
        next_run=null(),
        next_at=null(),
        waiting=null(),
        paused_reason=literal_column("'unreadable'"),
        updated_at=bindparam("at"),
    )
)
"""Pauses one whose row cannot be read; the row is locked."""

SCHEDULE_OF_FILE: Final = Statement(
    select(*schedules.c)
    .where(schedules.c.agent_id == bindparam("agent"), text("source <> 'api:'"))
    .with_for_update()
)
"""Locks the schedule that an agents file gives to its agent."""

LOCK_SCHEDULES_OF_AGENT: Final = Statement(
    select(*schedules.c)
    .where(
        schedules.c.workspace_id == bindparam("workspace"),
        schedules.c.agent_id == bindparam("agent"),
    )
    .order_by(schedules.c.id)
    .with_for_update()
)

SCHEDULES_OF_AGENT: Final = Statement(
    select(*schedules.c)
    .where(
        schedules.c.workspace_id == bindparam("workspace"),
        schedules.c.agent_id == bindparam("agent"),
    )
    .order_by(schedules.c.id)
    .limit(bindparam("limit"))
)

SCHEDULES_OF_AGENTS: Final = Statement(
    select(*schedules.c)
    .where(
        schedules.c.workspace_id == bindparam("workspace"),
        schedules.c.agent_id >= bindparam("agent"),
        schedules.c.agent_id <= bindparam("last_agent"),
    )
    .order_by(schedules.c.agent_id, schedules.c.id)
    .limit(bindparam("limit"))
)
"""The same for a page of agents, whose ids are next to each other."""

PAUSE_AGENT: Final = Statement(
    update(agents)
    .where(agents.c.id == bindparam("agent"), agents.c.workspace_id == bindparam("workspace"))
    .values(paused=bindparam("new_paused"), updated_at=bindparam("at"))
)

_some_runs: Final = (
    select(schedule_runs.c.id)
    .where(schedule_runs.c.schedule_id == bindparam("id"))
    .order_by(schedule_runs.c.id)
    .limit(bindparam("limit"))
)

DELETE_SCHEDULE_RUNS: Final = Statement(
    delete(schedule_runs)
    .where(tuple_(schedule_runs.c.id).in_(_some_runs))
    .returning(schedule_runs.c.id)
)
"""Deletes some runs of a deleted schedule; one of each minute has 130,000."""

DELETE_SCHEDULE: Final = Statement(
    delete(schedules)
    .where(schedules.c.id == bindparam("id"), schedules.c.workspace_id == bindparam("workspace"))
    .returning(schedules.c.id)
)

RUN: Final = Statement(
    select(*schedule_runs.c).where(
        schedule_runs.c.id == bindparam("id"),
        schedule_runs.c.workspace_id == bindparam("workspace"),
    )
)

_old_runs: Final = (
    select(schedule_runs.c.id)
    .where(schedule_runs.c.at <= bindparam("since"))
    .order_by(schedule_runs.c.at)
    .limit(bindparam("limit"))
)

FORGET_SCHEDULE_RUNS: Final = Statement(
    delete(schedule_runs)
    .where(tuple_(schedule_runs.c.id).in_(_old_runs))
    .returning(schedule_runs.c.id)
)
"""Deletes the oldest, at most `limit`: a duty runs this repeatedly."""


@cache
def list_schedules(filters: frozenset[str]) -> Statement:
    """Select a page of a workspace's schedules by keyset."""
    conditions: dict[str, ColumnElement[bool]] = {
        "agent_id": schedules.c.agent_id == bindparam("agent_id"),
        "after": schedules.c.id < bindparam("after"),
        "before": schedules.c.id > bindparam("before"),
    }
    ascending = "before" in filters
    return Statement(
        select(*schedules.c)
        .where(
            schedules.c.workspace_id == bindparam("workspace"),
            *(conditions[name] for name in sorted(filters)),
        )
        .order_by(schedules.c.id.asc() if ascending else schedules.c.id.desc())
        .limit(bindparam("limit"))
    )


@cache
def list_runs(filters: frozenset[str]) -> Statement:
    """Select a page of a schedule's runs by keyset; the schedule is of the workspace."""
    conditions: dict[str, ColumnElement[bool]] = {
        "after": schedule_runs.c.id < bindparam("after"),
        "before": schedule_runs.c.id > bindparam("before"),
    }
    ascending = "before" in filters
    return Statement(
        select(*schedule_runs.c)
        .where(
            schedule_runs.c.schedule_id == bindparam("schedule"),
            *(conditions[name] for name in sorted(filters)),
        )
        .order_by(schedule_runs.c.id.asc() if ascending else schedule_runs.c.id.desc())
        .limit(bindparam("limit"))
    )


def changed(schedule: Schedule) -> Query:
    """Return the query that writes a schedule, whose row is locked."""
    values = schedule_columns(schedule)
    new = {f"new_{name}": value for name, value in values.items()}
    for fixed in ("id", "workspace_id", "key_id", "created_at"):
        del new[f"new_{fixed}"]
    return Query(CHANGE_SCHEDULE, new | {"given_id": schedule.id})


def run_inserted(workspace_id: str, run: ScheduleRun) -> Query:
    """Return the query that records a run."""
    return Query(
        INSERT_SCHEDULE_RUN,
        {
            "id": run.id,
            "workspace_id": workspace_id,
            "schedule_id": run.schedule_id,
            "kind": run.trigger.value,
            "at": run.at,
            "scheduled_at": run.scheduled_at,
            "execution_id": run.execution_id,
            "error": None if run.error is None else to_json(run.error),
            "late": run.late,
            "missed": run.missed,
        },
    )


def moved(fired: Sequence[Schedule]) -> Batch:
    """Return the statements that write schedules that were fired, whose rows are locked."""
    return Batch(
        MOVE_SCHEDULES,
        tuple(
            {"given_id": one.id} | {f"new_{name}": getattr(one, name) for name in _MOVED}
            for one in fired
        ),
    )
