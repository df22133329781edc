"""View models of the list of executions, of one execution, and of the tree below it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from outlast.model.clock import iso, iso_or_none
from outlast.model.execution import TERMINAL, Execution, Status
from outlast.model.price import credits_of
from outlast.model.usage import Spent
from outlast.rooms.console.render.words import first_line
from outlast.services.lists import HOUR, MOST_COUNTED, Created


@dataclass(frozen=True, slots=True)
class Row:
    """An execution in a list."""

    id: str
    status: Status
    agent: str
    input: str
    created_at: int
    duration: int | None
    steps: int
    tokens: int
    credits: int
    children: int
    updated_at: int


def row(execution: Execution, agent: str, now: int, below: Spent) -> Row:
    """Return an execution as a list shows it; `below`: what those that it has called have spent."""
    began, ended = execution.started_at, execution.completed_at
    if ended is None and execution.status in TERMINAL:
        ended = execution.updated_at
    return Row(
        execution.id,
        execution.shown_status,
        agent,
        first_line(execution.input) or "(no input)",
        execution.created_at,
        None if began is None else max(0, (ended or now) - began),
        execution.steps,
        execution.charged_tokens + below.usage.total_tokens,
        execution.credits + below.credits,
        execution.children,
        execution.updated_at,
    )


def exported(execution: Execution, agent: str, below: Spent) -> dict[str, Any]:
    """Return an execution as a line of an export; its names are the API's."""
    return {
        "id": execution.id,
        "status": execution.shown_status.value,
        "agent": agent,
        "agentVersion": execution.agent_version,
        "conversationId": execution.conversation_id,
        "turn": execution.turn,
        "parentId": execution.parent_id,
        "user": execution.user,
        "metadata": execution.metadata,
        "createdAt": iso(execution.created_at),
        "startedAt": iso_or_none(execution.started_at),
        "completedAt": iso_or_none(execution.completed_at),
        "steps": execution.steps,
        "tokens": execution.charged_tokens + below.usage.total_tokens,
        "creditsUsed": credits_of(execution.credits + below.credits),
        "input": execution.input,
        "output": execution.output,
        "error": None if execution.error is None else execution.error.message,
    }


@dataclass(frozen=True, slots=True)
class HourBar:
    """An hour in the histogram, on a drawing that is 720 wide and 48 high."""

    x: int
    height: float
    failed: float
    name: str
    words: str
    """What the filter says for it."""


def hour_bars(hours: Sequence[Created]) -> list[HourBar]:
    """Return the bars of hours, the highest as high as the drawing."""
    most = max((one.count for one in hours), default=0) or 1
    return [
        HourBar(
            number * 30,
            round(46 * one.count / most, 1),
            round(46 * min(one.failed, one.count) / most, 1),
            _hour_name(one),
            f"since:{_minute(one.at)} before:{_minute(one.at + HOUR)}",
        )
        for number, one in enumerate(hours)
    ]


def _hour_name(hour: Created) -> str:
    many = f"{MOST_COUNTED}+" if hour.count >= MOST_COUNTED else str(hour.count)
    failed = f", {hour.failed} failed" if hour.failed else ""
    return f"{_minute(hour.at)[11:16]} to {_minute(hour.at + HOUR)[11:16]} UTC: {many}{failed}"


def _minute(at: int) -> str:
    return iso(at)[:16] + "Z"


@dataclass(frozen=True, slots=True)
class Branch:
    """An execution in a tree, with those that it has called."""

    row: Row
    below: list["Branch"] = field(default_factory=list)


def tree_below(execution_id: str, found: Sequence[tuple[Row, str | None]]) -> list[Branch]:
    """Return what an execution has called, oldest first; `found` has each one's parent."""
    branches = {one.id: Branch(one) for one, _ in found}
    roots: list[Branch] = []
    for one, parent in reversed(found):
        if parent == execution_id:
            roots.append(branches[one.id])
        elif parent in branches:
            branches[parent].below.append(branches[one.id])
    return roots


@dataclass(frozen=True, slots=True)
class Actions:
    """What may be done with an execution in this status."""

    pause: bool
    resume: bool
    cancel: bool
    delete: bool

    @property
    def names(self) -> list[str]:
        """The names of those that are offered."""
        return [one.name for one in fields(self) if getattr(self, one.name)]


def actions(status: Status, *, may: bool, client_driven: bool) -> Actions:
    """Return what the page offers; `may`: whether the key is allowed to."""
    live = status not in TERMINAL
    resumes = status in (Status.PAUSED, Status.FAILED)
    resumes = resumes or (status is Status.CANCELLED and not client_driven)
    return Actions(
        pause=may and live and status is not Status.PAUSED,
        resume=may and resumes,
        cancel=may and live,
        delete=may,
    )
