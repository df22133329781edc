"""Records: executions, their steps and the costs, as nodes of a tree.

A node's credits include everything under it, and the credits of its children add up to its own. So
all charged work has a node: superseded steps, and model requests aborted by a pause.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from outlast.model.charge import Charge
from outlast.model.error import InvalidId
from outlast.model.execution import Execution, ModelStep, Step
from outlast.model.ids import EXECUTION, MESSAGE, STEP, parse

_KINDS: Final = (EXECUTION, STEP)


@dataclass(frozen=True, slots=True)
class RecordId:
    """Ids that a record's id may be; a bare UUID does not say which."""

    execution_id: str | None
    step_id: str | None

    @classmethod
    def parse(cls, text: str) -> "RecordId":
        """Read an execution's or a step's id in any spelling. Raises InvalidId."""
        found: dict[str, str] = {}
        for prefix in _KINDS:
            if "_" not in text or text.lower().startswith(f"{prefix}_"):
                found[prefix] = parse(prefix, text)
        if not found:
            raise InvalidId(EXECUTION, text)
        return cls(found.get(EXECUTION), found.get(STEP))

    @classmethod
    def of_message(cls, text: str) -> "RecordId":
        """Read a message's id: it shares its UUID with a record. Raises InvalidId.

        The record is an execution for a user's message, the last model step for an assistant's.
        """
        suffix = parse(MESSAGE, text).removeprefix(MESSAGE)
        return cls(EXECUTION + suffix, STEP + suffix)


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """An execution."""

    execution: Execution
    credits: int
    """Billionths, for everything under it: its own work and that of its child executions."""
    truncated: tuple[str, ...] = ()
    """Fields of the execution that are shortened, as in a page."""

    @property
    def began(self) -> int:
        """When it was made, in milliseconds since the epoch."""
        return self.execution.created_at


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A recorded step."""

    execution: Execution
    step: Step
    credits: int
    superseded: bool

    @property
    def began(self) -> int:
        """When it started."""
        return self.step.started_at

    @property
    def is_decision(self) -> bool:
        """Whether a code agent's function made this call, not a model; it cost nothing.

        The tool call itself is a step of its own.
        """
        step = self.step
        return isinstance(step, ModelStep) and not step.model and bool(step.message.tool_calls)


@dataclass(frozen=True, slots=True)
class ClosedRecord:
    """A model request aborted by a pause; it was charged, and made again."""

    execution: Execution
    charge: Charge

    @property
    def credits(self) -> int:
        """Billionths."""
        return self.charge.credits

    @property
    def began(self) -> int:
        """When it was aborted: its start was not recorded."""
        return self.charge.at


Part: TypeAlias = StepRecord | ClosedRecord
Record: TypeAlias = ExecutionRecord | Part


@dataclass(frozen=True, slots=True)
class Tree:
    """A record with everything under it, oldest first."""

    record: Record
    children: tuple["Tree", ...] = ()


def shown_of(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Return the parts that are nodes of a tree: not the calls that a code agent has made."""
    return tuple(part for part in parts if not (isinstance(part, StepRecord) and part.is_decision))


def tree_of(root_id: str, executions: Iterable[Execution], parts: Iterable[Part]) -> Tree:
    """Build the tree of an execution, its descendants and their parts; parts are given in order."""
    by_id = {execution.id: execution for execution in executions}
    below: dict[str, list[Execution]] = defaultdict(list)
    own: dict[str, list[Part]] = defaultdict(list)
    for execution in by_id.values():
        if execution.parent_id is not None:
            below[execution.parent_id].append(execution)
    for part in shown_of(parts):
        own[part.execution.id].append(part)

    def grown(execution: Execution) -> Tree:
        executions = [grown(child) for child in below[execution.id]]
        credits_ = execution.credits + sum(child.record.credits for child in executions)
        children = [*map(Tree, own[execution.id]), *executions]
        children.sort(key=lambda child: child.record.began)
        return Tree(ExecutionRecord(execution, credits_), tuple(children))

    return grown(by_id[root_id])


@dataclass(frozen=True, slots=True)
class Placed:
    """An execution's place in a tree, without its content."""

    id: str
    parent_id: str | None
    began: int
    credits: int
    """Billionths, of its own work."""
    size: int
    """Characters of its content and that of its steps."""


@dataclass(frozen=True, slots=True)
class Branch:
    """An execution with its own parts, those below it excluded."""

    execution: Execution
    parts: tuple[Part, ...]
    """In their order; a code agent's own calls are left out."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A tree without content: an execution and all its descendants."""

    root_id: str
    placed: tuple[Placed, ...]

    @property
    def size(self) -> int:
        """Characters of the content of all."""
        return sum(one.size for one in self.placed)
