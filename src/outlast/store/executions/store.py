"""Executions: a method for each transaction."""

from collections.abc import Sequence

from outlast.model.event import Cursor, Entry
from outlast.model.execution import Execution, PauseRequest, Step
from outlast.model.usage import Spent
from outlast.model.wait import Wait
from outlast.store.budgets.shares import fitted
from outlast.store.driver import Driver
from outlast.store.executions.advance import advance, force_failure
from outlast.store.executions.below import live_below
from outlast.store.executions.browsers import read_browser
from outlast.store.executions.counts import (
    Counts,
    read_counts,
    read_counts_of_agents,
    read_further,
)
from outlast.store.executions.create import cancel_waiting, create
from outlast.store.executions.deferred import HandlesOfLog, read_handles
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
from outlast.store.executions.places import (
    NewestSteps,
    StepSums,
    Stretch,
    count_steps_before,
    read_newest_steps,
    read_stretch,
    sum_steps_behind,
)
from outlast.store.executions.read import (
    read_details,
    read_execution,
    read_live,
    read_part,
    read_recorded,
    unfinished,
)
from outlast.store.executions.requests import (
    Requested,
    keep_its_pause,
    request_cancel,
    request_pause,
    requested,
)
from outlast.store.executions.segment_writes import append_text, record_active_time
from outlast.store.executions.siblings import Siblings
from outlast.store.executions.spent_below import read_spent_below
from outlast.store.executions.steps import read_steps
from outlast.store.executions.values import (
    ActiveTime,
    Advance,
    Advanced,
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

    One method writes all changes of a running execution, `advance`: compare-and-set on status and
    segment, and in the same transaction the step, the checkpoint, the events and the next
    execution's turn. So state, log and queue cannot disagree, and a worker that has lost the
    execution changes nothing.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._siblings = Siblings(driver)

    async def create(self, new: NewExecution, *, begins: bool = False) -> Created:
        """Record an execution, or find the one that this idempotency key or message made.

        `begins`: this process has a free slot for it, so that the same commit may begin it.

        Raises ConversationNotFound, ConversationBusy (on_busy=reject), TooManyTurns, QuotaExceeded,
        IdempotencyMismatch, ExecutionNotFound and Conflict (a required cut finds no turn, or one
        that is cut already).
        """
        return await self._driver.write(lambda: create(new, begins=begins))

    async def advance(self, move: Advance) -> Advanced:
        """Make one move. Raises StaleWrite, BudgetRefused; then nothing has changed."""
        if move.before.tool_call_id is not None and self._driver.joins:
            return await self._siblings.advance(move)
        of = (move.before.id,)
        return await fitted(lambda full: self._driver.write(lambda: advance(move, full), of=of))

    async def force_failure(self, failure: ForcedFailure) -> bool:
        """Fail an execution that is queued or running, or rests if the failure allows that.

        Reads only its place, not the whole row. Returns False if it is none of these, or in another
        segment; then nothing has changed.
        """
        return await self._driver.write(lambda: force_failure(failure), of=(failure.execution_id,))

    async def append_text(self, appends: Sequence[TextAppend]) -> list[bool]:
        """Log pieces of many running steps at once; return False for each whose segment is over.

        Writes of one execution take effect in the order of the calls, `advance` included.
        """
        return await self._driver.write(
            lambda: append_text(appends),
            durable=False,
            of=[append.execution.id for append in appends],
        )

    async def request_cancel(self, workspace_id: str, execution_id: str) -> None:
        """Request, of the process that runs it, that the execution be cancelled."""
        await self._driver.write(lambda: request_cancel(workspace_id, execution_id))

    async def get(self, workspace_id: str, execution_id: str) -> Execution:
        """Return one execution. Raises ExecutionNotFound, ExecutionUnreadable."""
        return await self._driver.read(lambda: read_execution(workspace_id, execution_id))

    async def part(self, workspace_id: str, execution_id: str) -> Execution:
        """Return as much of one execution as can be read. Raises ExecutionNotFound."""
        return await self._driver.read(lambda: read_part(workspace_id, execution_id))

    async def page(self, workspace_id: str, wanted: ExecutionFilter, page: Page) -> list[Execution]:
        """Return a page, newest first; one more than page.limit if there are more."""
        return await self._driver.read(lambda: read_executions(workspace_id, wanted, page))

    async def steps(self, workspace_id: str, execution_id: str) -> tuple[Step, ...]:
        """Return the recorded steps in order, without superseded ones."""
        return await self._driver.read(lambda: read_steps(workspace_id, execution_id))

    async def recorded(
        self, workspace_id: str, execution_id: str
    ) -> tuple[tuple[Step, ...], tuple[Wait, ...]]:
        """Return the same steps, and the newest wait per call if calls have no result yet."""
        return await self._driver.read(lambda: read_recorded(workspace_id, execution_id))

    async def handles(self, workspace_id: str, execution_id: str) -> HandlesOfLog:
        """Return the handles of calls that tools' servers work on by themselves."""
        return await self._driver.read(lambda: read_handles(workspace_id, execution_id))

    async def details(self, workspace_id: str, execution_ids: Sequence[str]) -> dict[str, Details]:
        """Return these executions with what they recorded, in one snapshot.

        Unknown ones are left out.
        """
        return await self._driver.read(
            lambda: read_details(workspace_id, execution_ids), snapshot=True
        )

    async def log(
        self, workspace_id: str, execution_id: str, after: Cursor, limit: int
    ) -> tuple[Entry, ...]:
        """Return up to `limit` entries that end after the cursor, in order."""
        return await self._driver.read(lambda: read_log(workspace_id, execution_id, after, limit))

    async def log_page(self, workspace_id: str, execution_id: str, after: Cursor) -> LogPage:
        """Return the next entries that end after the cursor, a page of some kilobytes."""
        return await self._driver.read(lambda: read_page(workspace_id, execution_id, after))

    async def reaches(self, workspace_id: str, execution_id: str, cursor: Cursor) -> bool:
        """Whether there is an entry that ends after the cursor."""
        return await self._driver.read(lambda: reaches(workspace_id, execution_id, cursor))

    async def live(self, workspace_id: str, conversation_id: str) -> list[Execution]:
        """Return the live executions of a conversation, oldest first."""
        return await self._driver.read(lambda: read_live(workspace_id, conversation_id))

    async def cancel_waiting(
        self, workspace_id: str, conversation_id: str, at: int, limit: int
    ) -> tuple[Execution, ...]:
        """Cancel queued turns of a conversation, the youngest first; return what was cancelled."""
        return await self._driver.write(
            lambda: cancel_waiting(workspace_id, conversation_id, at, limit)
        )

    async def live_below(self, workspace_id: str, execution_id: str) -> list[Execution]:
        """Return the live descendants of an execution, the deepest first."""
        return await self._driver.read(lambda: live_below(workspace_id, execution_id))

    async def spent_below(
        self, workspace_id: str, execution_ids: Sequence[str]
    ) -> dict[str, Spent]:
        """Return what the descendants of each of these have spent."""
        return await self._driver.read(
            lambda: read_spent_below(workspace_id, execution_ids), snapshot=True
        )

    async def unfinished(self, after: str, limit: int) -> list[Unfinished]:
        """Return running executions, and queued ones whose turn it is, of all workspaces; by id."""
        return await self._driver.read(lambda: unfinished(after, limit))

    async def request_pause(
        self, workspace_id: str, execution_id: str, request: PauseRequest, at: int = 0
    ) -> None:
        """Request, of the process that runs it, that the execution be paused.

        What it has called is paused too: at once as of `at`, or by the same request.
        """
        await self._driver.write(lambda: request_pause(workspace_id, execution_id, request, at))

    async def keep_paused(self, workspace_id: str, execution_id: str) -> Execution:
        """Make a pause that came with that of an execution above its own; return the execution.

        Raises ExecutionNotFound.
        """
        return await self._driver.write(lambda: keep_its_pause(workspace_id, execution_id))

    async def requested(self) -> Requested:
        """Return the live executions, of all workspaces, that are to be cancelled or paused."""
        return await self._driver.read(requested)

    async def resume(self, request: Resume) -> Details:
        """Request a segment from a checkpoint; work after it is superseded and stays visible.

        Return the execution as of this transaction.

        It is suspended again if approvals are open, and queued after an earlier live turn.
        Raises ExecutionNotFound, CheckpointNotFound, Conflict (it is queued, running or suspended;
        its content was deleted), ConversationBusy (it had ended, and another turn is live).
        """
        return await self._driver.write(lambda: resume(request))

    async def delete(self, workspace_id: str, execution_id: str) -> None:
        """Delete an execution with all its data; the conversation's next turn may begin.

        Raises ExecutionNotFound.
        """
        await self._driver.write(lambda: delete_execution(workspace_id, execution_id))

    async def browser(self, workspace_id: str, execution_id: str) -> str | None:
        """Return the sealed state of the execution's browser; None if none is kept."""
        return await self._driver.read(lambda: read_browser(workspace_id, execution_id))

    async def heartbeat(self, times: Sequence[ActiveTime]) -> list[int | None]:
        """Add the time of running segments. A power cut may lose the last moments of it.

        Return the milliseconds that its budgets leave each; None if they do not bound them.
        """
        return await self._driver.write(lambda: record_active_time(times), durable=False)

    async def listed(self, workspace_id: str, wanted: ExecutionFilter, page: Page) -> list[Listed]:
        """Return a page, newest first, with long values cut; one more if there are more."""
        return await self._driver.read(lambda: read_listed(workspace_id, wanted, page))

    async def counts(self, workspace_id: str, bounds: Sequence[str], most: int) -> Counts:
        """Return how many are between each two ids, and how many of them failed; at most `most`."""
        return await self._driver.read(lambda: read_counts(workspace_id, bounds, most))

    async def counts_of_agents(
        self, workspace_id: str, agent_ids: Sequence[str], from_id: str, most: int
    ) -> Counts:
        """Return how many each agent has from an id on, and how many of them failed."""
        return await self._driver.read(
            lambda: read_counts_of_agents(workspace_id, agent_ids, from_id, most)
        )

    async def further(
        self, workspace_id: str, agent_id: str, behind: str, count: int, *, upwards: bool
    ) -> str | None:
        """Return the id that comes after `count` ids of an agent behind one, older or `upwards`.

        None if it has no more.
        """
        return await self._driver.read(
            lambda: read_further(workspace_id, agent_id, behind, count, upwards=upwards)
        )

    async def short_steps(
        self, workspace_id: str, execution_ids: Sequence[str]
    ) -> dict[str, ShortSteps]:
        """Return the first tool calls of each, without superseded and long ones."""
        return await self._driver.read(
            lambda: read_short_steps(workspace_id, execution_ids), snapshot=True
        )

    async def newest_steps(self, workspace_id: str, execution_id: str, most: int) -> NewestSteps:
        """Return where the newest steps begin in the log, and the execution, in one snapshot.

        Raises ExecutionNotFound, ExecutionUnreadable.
        """
        return await self._driver.read(
            lambda: read_newest_steps(workspace_id, execution_id, most), snapshot=True
        )

    async def stretch(self, workspace_id: str, execution_id: str, first: int, last: int) -> Stretch:
        """Return where the log has the steps of these numbers."""
        return await self._driver.read(
            lambda: read_stretch(workspace_id, execution_id, first, last), snapshot=True
        )

    async def sums_behind(self, workspace_id: str, execution_id: str, number: int) -> StepSums:
        """Return the sums of the recorded steps behind this one that stand."""
        return await self._driver.read(lambda: sum_steps_behind(workspace_id, execution_id, number))

    async def steps_before(self, workspace_id: str, execution_id: str, number: int) -> int:
        """Return how many steps before this one are not superseded."""
        return await self._driver.read(
            lambda: count_steps_before(workspace_id, execution_id, number)
        )
