"""View models of what waits for a person."""

from dataclasses import dataclass
from typing import Final

from outlast.model.agent import Effect, ToolSpec
from outlast.model.execution import TERMINAL, Execution
from outlast.model.wait import Wait, WaitKind
from outlast.rooms.console.render.transcript import Transcript
from outlast.rooms.console.render.words import duration, first_line

_EFFECTS: Final = {
    Effect.READ_ONLY: "It only reads: running it changes nothing.",
    Effect.IDEMPOTENT: "Running it a second time with the same key has no further effect.",
    Effect.DESTRUCTIVE: "It may have an effect that cannot be taken back, and runs once only.",
}
_UNKNOWN: Final = "The agent has no tool of this name any more; its arguments are not checked."


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that waits, or has waited, for a person."""

    wait: Wait
    execution: Execution
    agent: str
    tool: ToolSpec | None

    @property
    def asks_for(self) -> str:
        """What the user wants, in one line."""
        return first_line(self.execution.input)

    @property
    def effect(self) -> str:
        """What running the tool does."""
        return _UNKNOWN if self.tool is None else _EFFECTS[self.tool.effect]

    @property
    def expiry(self) -> str:
        """What happens without a decision."""
        if self.wait.due_at is None:
            return "It waits as long as it takes."
        return f"Without a decision it is {'approved' if self.wait.due_approved else 'denied'}"

    @property
    def place(self) -> str:
        """The path of its page, below the console's."""
        return place_of(self.wait)

    @property
    def party(self) -> str:
        """Who or what it waits for."""
        match self.wait.kind:
            case WaitKind.UNKNOWN_OUTCOME:
                return "a person, who knows whether it ran"
            case WaitKind.INPUT:
                return "a person's input"
            case WaitKind.CLIENT:
                return "its client, which runs it"
            case _:
                return "a person's approval"

    @property
    def message(self) -> str:
        """What its tool's server requests, in one line; empty if it requests nothing."""
        request = self.wait.request
        said = [] if request is None else [str(one["message"]) for one in request.shown()]
        return first_line(" ".join(said))

    @property
    def is_open(self) -> bool:
        """Whether it may be decided."""
        return self.wait.is_open and self.execution.status not in TERMINAL

    @property
    def waited(self) -> str:
        """How long it took until the decision."""
        if self.wait.decided_at is None:
            return ""
        return duration(max(0, self.wait.decided_at - self.wait.requested_at))


def place_of(wait: Wait) -> str:
    """Return the path of a wait's page, below the console's."""
    screen = "calls" if wait.is_client else "approvals"
    return f"{screen}/{wait.execution_id}/{wait.tool_call_id}"


def waiting(wait: Wait, execution: Execution, agent: str, tool: ToolSpec | None) -> Waiting:
    """Return a call for its page."""
    return Waiting(wait, execution, agent, tool)


def wait_in(read: Transcript, execution_id: str, tool_call_id: str) -> Wait | None:
    """Return a call's newest wait for a person as the log has it; None if there was none."""
    for step in reversed(read.ordered):
        for ask in reversed(step.asks):
            request, answer = ask.request, ask.answer
            if request.tool_call_id != tool_call_id or request.execution_id is not None:
                continue
            return Wait(
                execution_id,
                tool_call_id,
                WaitKind(request.approval_kind),
                request.name,
                request.parameters,
                ask.at,
                decided_at=ask.answered_at,
                approved=None if answer is None else answer.approved,
                reason=None if answer is None else answer.reason,
                effective_parameters=None if answer is None else answer.parameters,
                decided_by=None if answer is None else answer.decided_by,
                step=step.number,
                superseded=step.superseded,
            )
    return None
