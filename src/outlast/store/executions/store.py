"""Executions: every transaction on them by its verb."""

from collections.abc import Sequence

from outlast.model.event import Cursor, Entry
from outlast.model.execution import Execution, PauseRequest, Step
from outlast.store.driver import Driver
from outlast.store.executions.advance import (
    advance,
    append_text,
    force_failure,
    record_active_time,
)
from outlast.store.executions.create import cancel_waiting, create
from outlast.store.executions.delete import delete_execution
from outlast.store.executions.lists import (
    ExecutionFilter,
    Listed,
    ShortSteps,
    read_executions,
    read_listed,
    read_short_steps,
)
from outlast.store.executions.log import reaches, read_log, read_page
from outlast.store.executions.read import (
    read_details,
    read_execution,
    read_live,
    unfinished,
)
from outlast.store.executions.requests import (
    Requested,
    request_cancel,
    request_pause,
    requested,
)
from outlast.store.executions.steps import read_steps
from outlast.store.executions.values import (
    ActiveTime,
    Advance,
    Created,
    Details,
    ForcedFailure,
    LogPage,
    NewExecution,
    Resume,
    TextAppend,
    Unfinished,
)
from outlast.store.page import Page
from outlast.store.resume import resume


class ExecutionStore:
    """Executions, their steps and their log.

    There is one write verb for an execution's life, `advance`: compare-and-set on status and
    segment, and with it, in one transaction, the step, the checkpoint, the events and the next
    execution's turn. State, log and queue cannot disagree, and a worker that comes back from the
    dead changes nothing.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def create(self, new: NewExecution) -> Created:
        """Record an execution, or find the one that this idempotency key or message made.

        Raises ConversationNotFound, ConversationBusy (on_busy=reject), TooManyTurns,
        IdempotencyMismatch, ExecutionNotFound and Conflict (what it is required to cut is not
        there, or cut already).
        """
        return await self._driver.write(lambda: create(new))

    async def advance(self, move: Advance) -> tuple[Entry, ...]:
        """Make one move and answer its log entries. Raises StaleWrite; then nothing has changed."""
        return await self._driver.write(lambda: advance(move), of=(move.before.id,))

    async def force_failure(self, failure: ForcedFailure) -> bool:
        """Fail an execution that is queued or running, or rests, as the failure says.

        Reads no more than its place. False where it is none of these, or is in another segment;
        then nothing has changed.
        """
        return await self._driver.write(lambda: force_failure(failure), of=(failure.execution_id,))

    async def append_text(self, appends: Sequence[TextAppend]) -> list[bool]:
        """Log pieces of many running steps at once; False for each whose segment has passed.

        Writes of one execution take effect in the order of the calls, `advance` included.
        """
        return await self._driver.write(
            lambda: append_text(appends),
            durable=False,
            of=[append.execution.id for append in appends],
        )

    async def request_cancel(self, workspace_id: str, execution_id: str) -> None:
        """Leave word, for whichever process runs it, that the execution is to be cancelled."""
        await self._driver.write(lambda: request_cancel(workspace_id, execution_id))

    async def get(self, workspace_id: str, execution_id: str) -> Execution:
        """Return one execution. Raises ExecutionNotFound."""
        return await self._driver.read(lambda: read_execution(workspace_id, execution_id))

    async def page(self, workspace_id: str, wanted: ExecutionFilter, page: Page) -> list[Execution]:
        """Newest first; one more than page.limit where there are more."""
        return await self._driver.read(lambda: read_executions(workspace_id, wanted, page))

    async def steps(self, workspace_id: str, execution_id: str) -> tuple[Step, ...]:
        """The recorded steps in order, without superseded ones."""
        return await self._driver.read(lambda: read_steps(workspace_id, execution_id))

    async def details(self, workspace_id: str, execution_ids: Sequence[str]) -> dict[str, Details]:
        """These executions with what they recorded, all of it as of one moment.

        One that there is not is left out.
        """
        return await self._driver.read(
            lambda: read_details(workspace_id, execution_ids), snapshot=True
        )

    async def log(
        self, workspace_id: str, execution_id: str, after: Cursor, limit: int
    ) -> tuple[Entry, ...]:
        """Up to `limit` entries that end after the cursor, in order."""
        return await self._driver.read(lambda: read_log(workspace_id, execution_id, after, limit))

    async def log_page(self, workspace_id: str, execution_id: str, after: Cursor) -> LogPage:
        """The next entries that end after the cursor, as many as fit a page of some kilobytes."""
        return await self._driver.read(lambda: read_page(workspace_id, execution_id, after))

    async def reaches(self, workspace_id: str, execution_id: str, cursor: Cursor) -> bool:
        """Whether there is an entry that ends after the cursor."""
        return await self._driver.read(lambda: reaches(workspace_id, execution_id, cursor))

    async def live(self, workspace_id: str, conversation_id: str) -> list[Execution]:
        """Executions of a conversation that have not ended, oldest first."""
        return await self._driver.read(lambda: read_live(workspace_id, conversation_id))

    async def cancel_waiting(
        self, workspace_id: str, conversation_id: str, at: int, limit: int
    ) -> tuple[Execution, ...]:
        """Cancel queued turns of a conversation, the youngest first; return what was cancelled."""
        return await self._driver.write(
            lambda: cancel_waiting(workspace_id, conversation_id, at, limit)
        )

    async def unfinished(self, after: str, limit: int) -> list[Unfinished]:
        """Running executions, and queued ones that wait for nobody, of all workspaces; by id."""
        return await self._driver.read(lambda: unfinished(after, limit))

    async def request_pause(
        self, workspace_id: str, execution_id: str, request: PauseRequest
    ) -> None:
        """Leave word, for whichever process runs it, that the execution is to be paused."""
        await self._driver.write(lambda: request_pause(workspace_id, execution_id, request))

    async def requested(self) -> Requested:
        """Return the live executions, of all workspaces, that are to be cancelled or paused."""
        return await self._driver.read(requested)

    async def resume(self, request: Resume) -> Details:
        """Start a segment from a checkpoint; work behind it is superseded and stays visible.

        Return the execution as this left it, whoever has run it since.

        Suspended again where approvals are open, queued behind an earlier turn that is live.
        Raises ExecutionNotFound, CheckpointNotFound, Conflict (it is queued, running or suspended;
        its content was deleted), ConversationBusy (it had ended, and another turn is live).
        """
        return await self._driver.write(lambda: resume(request))

    async def delete(self, workspace_id: str, execution_id: str) -> None:
        """Delete an execution with all of it; the conversation's next turn may begin.

        Raises ExecutionNotFound.
        """
        await self._driver.write(lambda: delete_execution(workspace_id, execution_id))

    async def heartbeat(self, times: Sequence[ActiveTime]) -> None:
        """Count the time of segments that run on. A power cut may take the last moments of it."""
        await self._driver.write(lambda: record_active_time(times), durable=False)

    async def listed(self, workspace_id: str, wanted: ExecutionFilter, page: Page) -> list[Listed]:
        """Newest first, cut; one more than page.limit where there are more."""
        return await self._driver.read(lambda: read_listed(workspace_id, wanted, page))

    async def short_steps(
        self, workspace_id: str, execution_ids: Sequence[str]
    ) -> dict[str, ShortSteps]:
        """The first tool calls of each that stand, without those that are long."""
        return await self._driver.read(
            lambda: read_short_steps(workspace_id, execution_ids), snapshot=True
        )
