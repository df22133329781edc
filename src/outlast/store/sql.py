"""The store's verbs over any driver: each runs one transaction, in one transaction."""

from collections.abc import Sequence
from typing import Final

from outlast.model.conversation import Conversation
from outlast.model.event import Cursor, Entry
from outlast.model.execution import Execution, PauseRequest, Step
from outlast.store.agents import AgentStore
from outlast.store.approvals.store import ApprovalStore
from outlast.store.checkpoints import CheckpointStore
from outlast.store.conversation_port import ConversationFilter, History, TurnStamp
from outlast.store.driver import Driver
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
from outlast.store.executions.pause_requests import pause_requested, request_pause
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
from outlast.store.idempotency import IdempotencyStore
from outlast.store.keys import KeyStore
from outlast.store.listeners import Listeners
from outlast.store.page import Page
from outlast.store.records import RecordStore
from outlast.store.resume import resume
from outlast.store.scripts import (
    conversations,
    creation,
    details,
    executions,
    failing,
)
from outlast.store.tasks.store import TaskStore
from outlast.store.unreadable import Unreadable

_PURGED_AT_ONCE: Final = 50
"""Executions whose content one transaction deletes."""


class SqlStore:
    """The store's port over a driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.agents = AgentStore(driver)
        self.idempotency = IdempotencyStore(driver)
        self.records = RecordStore(driver)
        self.approvals = ApprovalStore(driver)
        self.checkpoints = CheckpointStore(driver)
        self.tasks = TaskStore(driver)
        self.keys = KeyStore(driver)

    def listen(self, listeners: Listeners) -> None:
        self._driver.listen(listeners)

    async def open(self) -> None:
        await self._driver.open()

    async def close(self) -> None:
        await self._driver.close()

    async def ready(self) -> None:
        await self._driver.ping()

    # --- executions

    async def create(self, new: NewExecution) -> Created:
        return await self._driver.write(lambda: creation.create(new))

    async def advance(self, move: Advance) -> tuple[Entry, ...]:
        return await self._driver.write(lambda: executions.advance(move), of=(move.before.id,))

    async def force_failure(self, failure: ForcedFailure) -> bool:
        return await self._driver.write(
            lambda: failing.force_failure(failure), of=(failure.execution_id,)
        )

    async def append_text(self, appends: Sequence[TextAppend]) -> list[bool]:
        return await self._driver.write(
            lambda: executions.append_text(appends),
            durable=False,
            of=[append.execution.id for append in appends],
        )

    async def request_cancel(self, workspace_id: str, execution_id: str) -> None:
        await self._driver.write(lambda: executions.request_cancel(workspace_id, execution_id))

    async def execution(self, workspace_id: str, execution_id: str) -> Execution:
        return await self._driver.read(lambda: executions.execution(workspace_id, execution_id))

    async def executions(
        self, workspace_id: str, wanted: ExecutionFilter, page: Page
    ) -> list[Execution]:
        return await self._driver.read(lambda: read_executions(workspace_id, wanted, page))

    async def steps(self, workspace_id: str, execution_id: str) -> tuple[Step, ...]:
        return await self._driver.read(lambda: read_steps(workspace_id, execution_id))

    async def details(self, workspace_id: str, execution_ids: Sequence[str]) -> dict[str, Details]:
        return await self._driver.read(
            lambda: details.details(workspace_id, execution_ids), snapshot=True
        )

    async def log(
        self, workspace_id: str, execution_id: str, after: Cursor, limit: int
    ) -> tuple[Entry, ...]:
        return await self._driver.read(lambda: read_log(workspace_id, execution_id, after, limit))

    async def log_page(self, workspace_id: str, execution_id: str, after: Cursor) -> LogPage:
        return await self._driver.read(lambda: read_page(workspace_id, execution_id, after))

    async def reaches(self, workspace_id: str, execution_id: str, cursor: Cursor) -> bool:
        return await self._driver.read(lambda: reaches(workspace_id, execution_id, cursor))

    async def live(self, workspace_id: str, conversation_id: str) -> list[Execution]:
        return await self._driver.read(lambda: executions.live(workspace_id, conversation_id))

    async def cancel_waiting(
        self, workspace_id: str, conversation_id: str, at: int, limit: int
    ) -> tuple[Execution, ...]:
        return await self._driver.write(
            lambda: creation.cancel_waiting(workspace_id, conversation_id, at, limit)
        )

    async def unfinished(self, after: str, limit: int) -> list[Unfinished]:
        return await self._driver.read(lambda: executions.unfinished(after, limit))

    async def cancel_requested(self) -> list[str]:
        return await self._driver.read(executions.cancel_requested)

    # --- pause, resume, approvals, deletion

    async def request_pause(self, workspace_id: str, execution_id: str, wish: PauseRequest) -> None:
        await self._driver.write(lambda: request_pause(workspace_id, execution_id, wish))

    async def pause_requested(self) -> list[tuple[str, PauseRequest] | Unreadable]:
        return await self._driver.read(pause_requested)

    async def resume(self, wish: Resume) -> Details:
        return await self._driver.write(lambda: resume(wish))

    async def delete_execution(self, workspace_id: str, execution_id: str) -> None:
        await self._driver.write(lambda: delete_execution(workspace_id, execution_id))

    # --- tasks

    async def seen(self, sightings: Sequence[ActiveTime]) -> None:
        await self._driver.write(lambda: executions.seen(sightings), durable=False)

    # --- records

    # --- lists

    async def listed(self, workspace_id: str, wanted: ExecutionFilter, page: Page) -> list[Listed]:
        return await self._driver.read(lambda: read_listed(workspace_id, wanted, page))

    async def short_steps(
        self, workspace_id: str, execution_ids: Sequence[str]
    ) -> dict[str, ShortSteps]:
        return await self._driver.read(
            lambda: read_short_steps(workspace_id, execution_ids), snapshot=True
        )

    # --- conversations

    async def conversation(self, workspace_id: str, conversation_id: str) -> Conversation:
        return await self._driver.read(
            lambda: conversations.conversation(workspace_id, conversation_id)
        )

    async def conversations(
        self, workspace_id: str, wanted: ConversationFilter, limit: int
    ) -> list[Conversation]:
        return await self._driver.read(
            lambda: conversations.conversations(workspace_id, wanted, limit)
        )

    async def turns(
        self,
        workspace_id: str,
        conversation_id: str,
        before: int | None = None,
        since: int = 1,
    ) -> tuple[History, ...]:
        return await self._driver.read(
            lambda: conversations.turns(workspace_id, conversation_id, before, since),
            snapshot=True,
        )

    async def turn_stamps(
        self, workspace_id: str, conversation_id: str, before: int
    ) -> tuple[TurnStamp, ...]:
        return await self._driver.read(
            lambda: conversations.turn_stamps(workspace_id, conversation_id, before)
        )

    async def delete_conversation(self, workspace_id: str, conversation_id: str, at: int) -> None:
        await self._driver.write(
            lambda: conversations.delete_conversation(workspace_id, conversation_id, at)
        )
        while await self.purge(_PURGED_AT_ONCE):
            pass

    async def purge(self, limit: int) -> int:
        return await self._driver.write(lambda: conversations.purge(limit))

    # --- agents

    # --- workspaces and keys
