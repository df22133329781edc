"""The store's port: what the rest of Outlast may ask of durable state.

There is one write verb for an execution's life, `advance`: compare-and-set on status and segment,
and with it, in one transaction, the step, the checkpoint, the events and the next execution's turn.
State, log and queue cannot disagree, and a worker that comes back from the dead changes nothing.
"""

from collections.abc import Sequence
from typing import Protocol

from outlast.model.event import Entry
from outlast.model.execution import (
    Execution,
    PauseRequest,
    Step,
)
from outlast.store.agents import AgentStore
from outlast.store.approvals.store import ApprovalStore
from outlast.store.checkpoints import CheckpointStore
from outlast.store.conversation_port import ConversationStore
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.executions.values import (
    ActiveTime,
    Advance,
    Created,
    Details,
    ForcedFailure,
    NewExecution,
    Resume,
    TextAppend,
    Unfinished,
)
from outlast.store.idempotency import IdempotencyStore
from outlast.store.keys import KeyStore
from outlast.store.list_port import ListStore
from outlast.store.listeners import Listeners
from outlast.store.log_port import LogStore
from outlast.store.page import Page
from outlast.store.records import RecordStore
from outlast.store.tasks.store import TaskStore
from outlast.store.unreadable import Unreadable


class ExecutionStore(LogStore, Protocol):
    """Executions, their steps and their log."""

    async def create(self, new: NewExecution) -> Created:
        """Record an execution, or find the one that this idempotency key or message made.

        Raises ConversationNotFound, ConversationBusy (on_busy=reject), TooManyTurns,
        IdempotencyMismatch, ExecutionNotFound and Conflict (what it is required to cut is not
        there, or cut already).
        """
        ...

    async def advance(self, move: Advance) -> tuple[Entry, ...]:
        """Make one move and answer its log entries. Raises StaleWrite; then nothing has changed."""
        ...

    async def force_failure(self, failure: ForcedFailure) -> bool:
        """Fail an execution that is queued or running, or rests, as the failure says.

        Reads no more than its place. False where it is none of these, or is in another segment;
        then nothing has changed.
        """
        ...

    async def append_text(self, appends: Sequence[TextAppend]) -> list[bool]:
        """Log pieces of many running steps at once; False for each whose segment has passed.

        Writes of one execution take effect in the order of the calls, `advance` included.
        """
        ...

    async def seen(self, sightings: Sequence[ActiveTime]) -> None:
        """Count the time of segments that run on. A power cut may take the last moments of it."""
        ...

    async def request_cancel(self, workspace_id: str, execution_id: str) -> None:
        """Leave word, for whichever process runs it, that the execution is to be cancelled."""
        ...

    async def request_pause(self, workspace_id: str, execution_id: str, wish: PauseRequest) -> None:
        """Leave word, for whichever process runs it, that the execution is to be paused."""
        ...

    async def pause_requested(self) -> list[tuple[str, PauseRequest] | Unreadable]:
        """The live executions, of all workspaces, that somebody asked to pause."""
        ...

    async def resume(self, wish: Resume) -> Details:
        """Start a segment from a checkpoint; work behind it is superseded and stays visible.

        Return the execution as this left it, whoever has run it since.

        Suspended again where approvals are open, queued behind an earlier turn that is live.
        Raises ExecutionNotFound, CheckpointNotFound, Conflict (it is queued, running or suspended;
        its content was deleted), ConversationBusy (it had ended, and another turn is live).
        """
        ...

    async def delete_execution(self, workspace_id: str, execution_id: str) -> None:
        """Delete an execution with all of it; the conversation's next turn may begin.

        Raises ExecutionNotFound.
        """
        ...

    async def execution(self, workspace_id: str, execution_id: str) -> Execution:
        """One execution. Raises ExecutionNotFound."""
        ...

    async def executions(
        self, workspace_id: str, wanted: ExecutionFilter, page: Page
    ) -> list[Execution]:
        """Newest first; one more than page.limit where there are more."""
        ...

    async def steps(self, workspace_id: str, execution_id: str) -> tuple[Step, ...]:
        """The recorded steps in order, without superseded ones."""
        ...

    async def details(self, workspace_id: str, execution_ids: Sequence[str]) -> dict[str, Details]:
        """These executions with what they recorded, all of it as of one moment.

        One that there is not is left out.
        """
        ...

    async def live(self, workspace_id: str, conversation_id: str) -> list[Execution]:
        """Executions of a conversation that have not ended, oldest first."""
        ...

    async def cancel_waiting(
        self, workspace_id: str, conversation_id: str, at: int, limit: int
    ) -> tuple[Execution, ...]:
        """Cancel queued turns of a conversation, the youngest first; return what was cancelled."""
        ...

    async def unfinished(self, after: str, limit: int) -> list[Unfinished]:
        """Running executions, and queued ones that wait for nobody, of all workspaces; by id."""
        ...

    async def cancel_requested(self) -> list[str]:
        """Ids of the live executions, of all workspaces, that somebody asked to cancel."""
        ...


class Store(
    ExecutionStore,
    ListStore,
    ConversationStore,
    Protocol,
):
    """All of it, and its life."""

    agents: AgentStore
    idempotency: IdempotencyStore
    approvals: ApprovalStore
    checkpoints: CheckpointStore
    keys: KeyStore
    records: RecordStore
    tasks: TaskStore

    def listen(self, listeners: Listeners) -> None:
        """Say who hears of commits; called once, before open."""
        ...

    async def open(self) -> None:
        """Connect and migrate. Raises StoreLocked, Misconfigured."""
        ...

    async def close(self) -> None:
        """Commit what waits and disconnect."""
        ...

    async def ready(self) -> None:
        """Return when the database answers. Raises Overloaded."""
        ...
