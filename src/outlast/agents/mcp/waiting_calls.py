"""Calls of one command that wait outside it: the command is kept for them while it is idle.

What a command has said of such a call it may keep in its memory alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from outlast.agents.port import ToolContext
from outlast.model.clock import Clock
from outlast.model.error import ExecutionNotFound, OutlastError
from outlast.model.execution import TERMINAL
from outlast.model.input_request import INPUT_SECONDS

if TYPE_CHECKING:
    from outlast.store.store import Store

_LONGER: Final = 60.0
"""Seconds for which a call is waited for after its input was due."""


class WaitingCalls:
    """The calls that a command is kept for."""

    def __init__(self, store: "Store | None", clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._calls: dict[str, tuple[ToolContext, float]] = {}
        """By tool call: for whom it waits, and until when."""
        self._polled = 0

    def add(self, context: ToolContext) -> None:
        """Keep the command for a call that has ended for want of input, until it is made again."""
        until = self._clock.monotonic() + INPUT_SECONDS + _LONGER
        self._calls[context.tool_call_id] = (context, until)

    def remove(self, tool_call_id: str) -> None:
        """Note that a call is being made again."""
        self._calls.pop(tool_call_id, None)

    @contextmanager
    def polled(self) -> Iterator[None]:
        """Keep the command for a task of it, between two looks."""
        self._polled += 1
        try:
            yield
        finally:
            self._polled -= 1

    async def any(self) -> bool:
        """Whether the command is still needed by one of them."""
        if self._polled:
            return True
        for tool_call_id, (context, until) in list(self._calls.items()):
            if until > self._clock.monotonic() and await self._waits(context):
                return True
            self.remove(tool_call_id)
        return False

    async def _waits(self, context: ToolContext) -> bool:
        """Whether its execution will make the call again."""
        if self._store is None:
            return True
        try:
            execution = await self._store.executions.get(context.workspace_id, context.execution_id)
            waits = await self._store.waits.of(context.workspace_id, context.execution_id)
        except ExecutionNotFound:
            return False
        except OutlastError:
            return True  # the database is away
        of_call = (one for one in waits if one.tool_call_id == context.tool_call_id)
        requests = any(one.request is not None and not one.superseded for one in of_call)
        return requests and execution.status not in TERMINAL
