"""Cancel and pause: at once if the execution waits, else by a request to its process."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from outlast.engine.dispatch.port import Engine
from outlast.engine.unwanted_calls import UnwantedCalls
from outlast.model.checkpoint import Checkpoint
from outlast.model.clock import Clock
from outlast.model.error import Conflict, ExecutionNotFound, StaleWrite
from outlast.model.event import Event, ExecutionCancelled, ExecutionPaused
from outlast.model.execution import (
    RESTING,
    TERMINAL,
    UNREADABLE,
    Execution,
    PauseRequest,
    Status,
    at_rest,
)
from outlast.model.ids import CHECKPOINT
from outlast.model.task import PAUSED
from outlast.store.executions.values import Advance, ForcedFailure
from outlast.store.store import Store
from outlast.stream import Streams

_SECONDS: Final = 10.0
"""How long a caller waits for the running segment to end."""
_ATTEMPTS: Final = 5

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Cancels and pauses executions."""

    store: Store
    engine: Engine
    streams: Streams
    clock: Clock
    unwanted: UnwantedCalls

    async def cancel(self, execution: Execution) -> Execution:
        """Cancel and wait for it. Raises Conflict if it has ended."""
        if execution.status in TERMINAL:
            raise Conflict(f"The execution is {execution.status.value}; it cannot be cancelled.")
        rested = await self.terminate(execution)
        if rested.status is Status.COMPLETED:
            raise Conflict("The execution completed before it could be cancelled.")
        return rested

    async def terminate(self, execution: Execution) -> Execution:
        """Cancel the execution if it is live, and wait for it and for all that it has called."""
        for _ in range(_ATTEMPTS):
            await self.ask_to_cancel(execution)
            execution = await self._rest(execution)
            if execution.status not in (Status.SUSPENDED, Status.PAUSED):
                break  # else its segment ended just before the request reached it
        if execution.children:
            below = await self.store.executions.live_below(execution.workspace_id, execution.id)
            for one in below:  # its end has requested theirs
                await self._rest(one)
        await self.unwanted.found()  # a deletion would take the log of its calls
        return execution

    async def end_unreadable(self, workspace_id: str, execution_id: str) -> bool:
        """Fail an execution that cannot be read; return False if it was not live."""
        logger.error("execution.unreadable", execution=execution_id)
        now = self.clock.now()
        return await self.store.executions.force_failure(
            ForcedFailure(workspace_id, execution_id, now, UNREADABLE, resting=True)
        )

    async def ask_to_cancel(self, execution: Execution) -> None:
        """Cancel at once if it waits; else leave a request to its process."""
        for _ in range(_ATTEMPTS):
            if execution.status in TERMINAL:
                return
            if execution.status is Status.RUNNING and not execution.is_client_driven:
                await self.store.executions.request_cancel(execution.workspace_id, execution.id)
                self.engine.cancel(execution.id)
                execution = await self.store.executions.get(execution.workspace_id, execution.id)
                if execution.status is Status.RUNNING:
                    return
                continue  # it came to rest just before the request
            moved = await self._move(execution, Status.CANCELLED, ExecutionCancelled())
            if moved.status is Status.CANCELLED:
                return
            execution = moved

    async def interrupt(self, execution: Execution) -> None:
        """Cancel an execution whose row has the request; if it has moved since, as above."""
        self.engine.cancel(execution.id)
        current = await self.store.executions.get(execution.workspace_id, execution.id)
        if current.status is not Status.RUNNING or not current.cancel_requested:
            await self.ask_to_cancel(current)

    async def pause(self, execution: Execution, request: PauseRequest) -> Execution:
        """Pause at once if it waits; else leave a request to its process and wait a while.

        Raises Conflict if it has ended, or ends before it can be paused.
        """
        for _ in range(_ATTEMPTS):
            if execution.status in TERMINAL:
                raise Conflict(f"The execution is {execution.status.value}; it cannot be paused.")
            if execution.status is Status.PAUSED:
                execution = await self._keep_paused(execution)
                break
            if execution.status is not Status.RUNNING or execution.is_client_driven:
                event = ExecutionPaused(request.reason)
                execution = await self._move(execution, Status.PAUSED, event, request)
                continue
            await self.store.executions.request_pause(
                execution.workspace_id, execution.id, request, self.clock.now()
            )
            self.engine.pause(execution.id, request)
            execution = await self._rest(execution)
            if execution.status not in RESTING:
                break
        if execution.status is Status.PAUSED and execution.children:
            await self._rest_below(execution)
        return execution

    async def _keep_paused(self, execution: Execution) -> Execution:
        """Make a pause that came with that of an execution above its own."""
        if execution.paused_by is None:
            return execution
        return await self.store.executions.keep_paused(execution.workspace_id, execution.id)

    async def _rest_below(self, execution: Execution) -> None:
        """Wait a while until no worker has what it has called."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SECONDS
        of = execution.workspace_id, execution.id
        for one in await self.store.executions.live_below(*of):
            left = deadline - loop.time()
            if one.status is Status.RUNNING and left > 0:
                with suppress(ExecutionNotFound):
                    await self.streams.rest(one.workspace_id, one.id, left, idle=True)

    async def _rest(self, execution: Execution) -> Execution:
        return await self.streams.rest(execution.workspace_id, execution.id, _SECONDS, idle=True)

    async def _move(
        self,
        execution: Execution,
        status: Status,
        event: Event,
        pause: PauseRequest | None = None,
    ) -> Execution:
        """Move an execution that no worker has; if it has moved meanwhile, return it as it is.

        A client-driven execution is paused with a checkpoint.
        """
        at = self.clock.now()
        after = at_rest(execution, status, at)
        checkpoint = None
        if execution.is_client_driven and status is Status.PAUSED:
            checkpoint = Checkpoint(self.clock.new_id(CHECKPOINT), execution.id, 0, at, PAUSED)
        move = Advance(execution, after, ((at, event),), checkpoint=checkpoint, pause=pause)
        try:
            await self.store.executions.advance(move)
        except StaleWrite:
            return await self.store.executions.get(execution.workspace_id, execution.id)
        return after
