"""Input that tools' servers request during calls: how it is waited for, and given.

A server that ends the call with its request is called again with the answers: the call waits like
any other. One that holds the call open is answered over the same connection, so the call goes on
running, for a bounded time.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from outlast.engine.segment.handles import Handles
from outlast.engine.segment.segment import Segment
from outlast.model.clock import Clock
from outlast.model.error import Conflict, NotFound
from outlast.model.input_request import (
    INPUT_SECONDS,
    LIVE_SECONDS,
    Answers,
    GivenInput,
    InputRequest,
)
from outlast.model.message import ToolCall
from outlast.model.wait import CallResult, Wait, WaitKind
from outlast.store.waits.decide import DecideWait
from outlast.store.waits.store import WaitStore

_LOOK_SECONDS: Final = 0.5
"""Seconds between two looks for an answer that another process may have taken."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Waits for input during calls."""

    store: WaitStore
    clock: Clock

    def wait(self, segment: Segment, number: int, call: ToolCall, request: InputRequest) -> Wait:
        """Return the wait of a call for the answers to a request."""
        now, known = self.clock.now(), segment.waits.get(call.id)
        seconds = LIVE_SECONDS if request.live else INPUT_SECONDS
        wait = Wait(
            segment.execution.id,
            call.id,
            WaitKind.INPUT,
            call.name,
            call.parameters,
            now,
            step=number,
            due_at=now + round(seconds * 1000),
            request=request,
        )
        if known is None:
            return wait
        approved = known.is_approval or (known.request is not None and known.request.approved)
        return replace(
            wait,
            parameters=known.parameters,
            effective_parameters=known.effective_parameters,
            reason=known.note or None,
            request=replace(request, approved=approved),
        )

    async def answers(
        self,
        segment: Segment,
        number: int,
        handles: Handles,
        call: ToolCall,
        request: InputRequest,
    ) -> Answers:
        """Return the answers to a request of a server that holds the call open."""
        segment.requesting[call.id] = request
        await handles.request(self.wait(segment, number, call, request))
        while True:
            found = await self._found(segment, call)
            if found is None:
                return request.cancelled()
            if not found.is_open:
                break
            await self.clock.sleep(_LOOK_SECONDS)
        del segment.requesting[call.id]
        answers: Answers = found.result
        return answers

    async def withdraw(self, segment: Segment, tool_call_id: str) -> None:
        """Cancel what a call still requests that has ended without an answer."""
        request = segment.requesting.pop(tool_call_id, None)
        if request is None:
            return
        execution = segment.execution
        decision = DecideWait(
            execution.workspace_id,
            execution.id,
            tool_call_id,
            self.clock.now(),
            CallResult(request.cancelled()),
        )
        with suppress(NotFound, Conflict):  # it was answered, or its time is over
            await self.store.decide(decision)

    async def _found(self, segment: Segment, call: ToolCall) -> Wait | None:
        execution = segment.execution
        waits = await self.store.of(execution.workspace_id, execution.id)
        of_call = (wait for wait in waits if wait.tool_call_id == call.id and not wait.superseded)
        return next(of_call, None)


def given_input(wait: Wait | None) -> GivenInput | None:
    """Return the request of a call that is answered, to call again with; None if there is none."""
    if wait is None or wait.request is None or wait.is_open or wait.request.live:
        return None
    return GivenInput(wait.request, wait.result)


def is_lost(wait: Wait) -> bool:
    """Whether a crash has ended the call that a request or its answers belonged to."""
    if wait.request is None:
        return False
    return wait.request.live or (not wait.is_open and wait.begun_at is not None)


def closed(wait: Wait, at: int) -> Wait | None:
    """Return the wait of a call that is lost, decided: nothing is awaited; None if nothing was."""
    if wait.request is None or not wait.is_open:
        return None
    result = wait.request.cancelled()
    return replace(wait, decided_at=at, approved=True, result=result, has_result=True)
