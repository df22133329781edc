"""What a run awaits of people and of its client, as its log tells."""

from typing import Final

from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.event import (
    TERMINAL_EVENTS,
    ApprovalRequested,
    ApprovalResolved,
    Event,
    ExecutionPaused,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    TextAdded,
    ThinkingAdded,
)

_TEXT: Final = (TextAdded, ThinkingAdded)
_MOVES: Final = (ExecutionStarted, ExecutionPaused, ExecutionResumed, *TERMINAL_EVENTS)


class Awaited:
    """Reads every event of one log in order."""

    def __init__(self) -> None:
        self._suspended = False
        self._approvals: dict[str, int] = {}
        self._calls: dict[str, int] = {}
        """Open approvals or input, and calls of the client, with their steps."""
        self.answered: set[str] = set()
        """Ids of the client's calls that have a result or need none any more."""

    def add(self, event: Event) -> None:
        """Read the next event."""
        if isinstance(event, _TEXT):  # almost all
            return
        if isinstance(event, ExecutionSuspended):
            self._suspended = True
        elif isinstance(event, _MOVES):
            self._suspended = False
        match event:
            case ApprovalRequested(step=step, tool_call_id=call_id):
                self._approvals[call_id] = step
            case ApprovalResolved(tool_call_id=call_id):
                self._approvals.pop(call_id, None)
            case ClientCallRequested(step=step, tool_call_id=call_id):
                (self._calls if event.input is None else self._approvals)[call_id] = step
                self.answered.discard(call_id)
            case ClientCallAnswered(tool_call_id=call_id):
                self._calls.pop(call_id, None)
                if self._approvals.pop(call_id, None) is None:  # not input for a call of ours
                    self.answered.add(call_id)
            case ExecutionResumed():
                for waiting in (self._approvals, self._calls):
                    for call_id in [one for one, step in waiting.items() if event.voids(step)]:
                        del waiting[call_id]
            case _:
                pass

    @property
    def client(self) -> bool:
        """Whether it stands still and its client is to run a call."""
        return self._suspended and bool(self._calls)

    @property
    def person(self) -> bool:
        """Whether it stands still and a person is to decide, or to give input."""
        return self._suspended and bool(self._approvals)
