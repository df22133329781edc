"""An agent's `schedule` in the agents file."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic.alias_generators import to_camel, to_snake

from outlast.agents.problem import Problem
from outlast.agents.tools.kind import Count, Entry
from outlast.model.budget import MOST_BOUND
from outlast.model.error import InvalidField, MissingField
from outlast.model.execution import Budget
from outlast.model.explain import explain
from outlast.model.moment import moment
from outlast.model.schedule import (
    DEFAULT_INPUT,
    LONGEST_WINDOW,
    MOST_JITTER,
    MOST_TIMES,
    CatchUp,
    Definition,
    Overlap,
    times_of_day,
)

Moment = Annotated[int, BeforeValidator(moment)]
"""ISO 8601, as milliseconds."""


_Count = Annotated[Count, Field(le=2**53)]
_Amount = Annotated[float, Field(gt=0, le=MOST_BOUND)]


class BudgetEntry(Entry):
    max_tokens: _Count | None = None
    max_credits: _Amount | None = None
    max_steps: _Count | None = None
    max_seconds: _Amount | None = None


class ScheduleEntry(Entry):
    cron: str | None = None
    times: Annotated[list[str], Field(min_length=1, max_length=MOST_TIMES)] | None = None
    mode: Literal["SCHEDULED"] = "SCHEDULED"
    tasks_per_day: Annotated[int, Field(ge=1, le=MOST_TIMES)] | None = None
    timezone: str = "UTC"
    input: Annotated[str, Field(min_length=1)] = DEFAULT_INPUT
    metadata: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
    budget: BudgetEntry = BudgetEntry()
    overlap: Literal["skip", "queue", "cancel", "allow"] = "skip"
    catch_up: Literal["last", "none", "all"] = "last"
    catch_up_window: Annotated[int, Field(ge=60, le=LONGEST_WINDOW)] = 86_400
    start_at: Moment | None = None
    end_at: Moment | None = None
    jitter_seconds: Annotated[int, Field(ge=0, le=MOST_JITTER)] = 0
    pause_after_failures: Annotated[int, Field(ge=1, le=1000)] = 3


def schedule_of(entry: ScheduleEntry) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Return the definition of an entry as JSON, and what is wrong with it."""
    try:
        times = times_of_day(entry.tasks_per_day, entry.times)
        definition = Definition(
            entry.cron,
            tuple(times or ()),
            entry.timezone,
            entry.input,
            entry.metadata,
            Budget(**entry.budget.model_dump()),
            Overlap(entry.overlap),
            CatchUp(entry.catch_up),
            entry.catch_up_window,
            entry.start_at,
            entry.end_at,
            jitter_seconds=entry.jitter_seconds,
            pause_after_failures=entry.pause_after_failures,
        )
        return asdict(definition.checked()), []
    except (InvalidField, MissingField) as error:
        key = error.param or "cron"
        text = error.message.removeprefix(f"{key}: ").rstrip(".")
        return None, [Problem((to_snake(key),), text)]


def given_schedule(given: dict[str, Any] | None) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Return the same of keys in the file's spelling, as a Python file has them."""
    if given is None:
        return None, []
    try:
        definition, problems = schedule_of(ScheduleEntry.model_validate(given))
        return definition, [Problem((to_camel(str(p.path[0])),), p.text) for p in problems]
    except ValidationError as error:
        found = explain(error.errors(include_url=False), given)
        return None, [Problem(one.path, one.text) for one in found]
