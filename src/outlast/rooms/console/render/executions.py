"""View models of the list of executions, of one execution, and of the tree below it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from outlast.model.execution import TERMINAL, Execution, Status
from outlast.rooms.console.render.words import first_line


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


def row(execution: Execution, agent: str, now: int) -> Row:
    """Return an execution as a list shows it."""
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
        execution.charged_tokens,
        execution.credits,
        execution.children,
        execution.updated_at,
    )


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


def actions(status: Status, *, may: bool, client_driven: bool) -> Actions:
    """Return what the page offers; `may`: whether the key is allowed to."""
    live = status not in TERMINAL
    resumes = status in (Status.PAUSED, Status.FAILED, Status.CANCELLED) and not client_driven
    return Actions(
        pause=may and live and status is not Status.PAUSED,
        resume=may and resumes,
        cancel=may and live,
        delete=may,
    )
