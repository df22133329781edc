"""Executions as a caller sees them: the row with its steps, read in one snapshot."""

from dataclasses import dataclass, replace

from outlast.model.error import ExecutionNotFound
from outlast.model.event import TERMINAL_EVENTS
from outlast.model.execution import TERMINAL, Execution, Step
from outlast.model.usage import NOTHING_SPENT, Spent
from outlast.model.wait import Wait, approvals
from outlast.store.executions.store import ExecutionStore
from outlast.store.executions.values import Details
from outlast.store.known_agents import KnownAgents
from outlast.store.listeners import Committed


@dataclass(frozen=True, slots=True)
class ExecutionView:
    """An execution with its steps."""

    execution: Execution
    steps: tuple[Step, ...]
    """Empty if the execution made only one step, which then is its answer."""
    waits: tuple[Wait, ...]
    agent: str
    """The agent's name."""
    cut: tuple[str, ...] = ()
    """Fields that are shortened, as in a list."""
    below: Spent = NOTHING_SPENT
    """What the executions below it have spent."""

    @property
    def approvals(self) -> tuple[Wait, ...]:
        """Its waits for a person."""
        return approvals(self.waits)

    @property
    def client_calls(self) -> tuple[Wait, ...]:
        """Its waits for the client."""
        return tuple(wait for wait in self.waits if wait.is_client)

    @property
    def spent(self) -> Spent:
        """What it and all below it have spent."""
        own = Spent(self.execution.usage, self.execution.credits)
        return own if self.below is NOTHING_SPENT else own + self.below


class Views:
    """Reads what is stored beside the rows of executions."""

    def __init__(self, store: ExecutionStore, known: KnownAgents) -> None:
        self._store = store
        self._known = known

    async def one(self, execution: Execution) -> ExecutionView:
        """Return the execution with its steps, read in one snapshot if there are any."""
        if not _has_details(execution):
            return await self.shown(Details(execution))
        workspace_id, execution_id = execution.workspace_id, execution.id
        del execution  # it may be large, and is read again
        found = await self._store.details(workspace_id, [execution_id])
        if execution_id not in found:
            raise ExecutionNotFound
        return await self.shown(found[execution_id])

    async def at_rest(self, execution: Execution, newest: Committed | None) -> ExecutionView:
        """Return the same; nothing is read if the row is of a commit that has all of it."""
        if newest is None or newest.execution is not execution:
            return await self.one(execution)
        found = _at_end(execution, newest)
        return await (self.one(execution) if found is None else self.shown(found))

    async def shown(self, details: Details) -> ExecutionView:
        """Return it as a caller sees it: the open step's text replaces the previous step's."""
        execution, text = details.execution, details.open_text
        shown = replace(execution, output=text) if text else execution
        name = await self._known.name_of(shown)
        return ExecutionView(shown, details.steps, details.waits, name, below=details.below)


def _at_end(execution: Execution, end: Committed) -> Details | None:
    """Return what an ended execution has recorded; None if its last commit does not have it all."""
    event = end.entries[-1].event if end.entries else None
    if not isinstance(event, TERMINAL_EVENTS) or end.steps is None:
        return None
    if len(end.steps) != execution.steps:
        return None
    below = NOTHING_SPENT if event.below is None else Spent.of(event.below)
    return Details(execution, end.steps if execution.steps > 1 else (), below=below)


def _has_details(execution: Execution) -> bool:
    """Whether it may have more than its row: not if it has not begun."""
    live = execution.status not in TERMINAL and execution.segment > 0
    return execution.steps > 1 or execution.children > 0 or live
