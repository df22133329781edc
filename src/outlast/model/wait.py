"""A wait: a tool call that waits for something outside the segment, and the outcome.

It waits for a person, a client, a child execution or a time. A person's decision lets it run or
not; any other party provides its result. An approval is a wait for a person.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from outlast.model.input_request import InputRequest


class NotGiven:
    """Sentinel for 'no result given'; None is a valid result."""


NOT_GIVEN: Final = NotGiven()
MAX_REASON: Final = 65_536
"""Maximum characters of the reason of a decision or of a pause."""


class Awaiting(StrEnum):
    """Who or what must act, in the order of precedence if there are several.

    A person and a client act only once they know of it, so they come first, and a person before a
    client, which may consult the person. A child and a time need no action.
    """

    PERSON = "person"
    CLIENT = "client"
    CHILD = "child"
    TIME = "time"


class WaitKind(StrEnum):
    """What a call waits for."""

    APPROVAL = "approval"
    """A person's approval, which the tool needs before every run."""
    UNKNOWN_OUTCOME = "unknown_outcome"
    """A person's decision on a call that was running when the server died and may have taken
    effect."""
    CLIENT = "client"
    """The result of a tool that the client runs."""
    INPUT = "input"
    """Input that the tool's server requests during the call, collected by the client."""
    CHILD = "child"
    """The end of a child execution."""
    TIMER = "timer"
    """A point in time."""


AWAITED: Final[dict[WaitKind, Awaiting]] = {
    WaitKind.APPROVAL: Awaiting.PERSON,
    WaitKind.UNKNOWN_OUTCOME: Awaiting.PERSON,
    WaitKind.CLIENT: Awaiting.CLIENT,
    WaitKind.INPUT: Awaiting.CLIENT,
    WaitKind.CHILD: Awaiting.CHILD,
    WaitKind.TIMER: Awaiting.TIME,
}
"""Who or what each kind waits for."""
APPROVALS: Final = (WaitKind.APPROVAL, WaitKind.UNKNOWN_OUTCOME)
"""The kinds that the API shows as approvals."""
NOT_IN_TIME: Final = "No decision was made in time."
"""The reason of an approval that has expired."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What one tool call waits for; decided_at is None while it waits."""

    execution_id: str
    tool_call_id: str
    kind: WaitKind
    name: str
    parameters: dict[str, Any]
    """As the model proposed them."""
    requested_at: int
    decided_at: int | None = None
    approved: bool | None = None
    """For an approval, the decision; for another wait, whether its result is no error."""
    reason: str | None = None
    """Reason of the person who decided it, or who approved the call before another wait."""
    effective_parameters: dict[str, Any] | None = None
    """As edited by the person; None if unchanged."""
    result: Any = None
    """The call's result. For an unknown outcome: it ran, with this result according to the
    person."""
    has_result: bool = False
    decided_by: str | None = None
    """Id of the key of the person or client; None if a child or a time decided."""
    step: int = 0
    """The number of the call's step; 0 in requests of early versions."""
    begun_at: int | None = None
    """When the approved call was started, here or by another party; a crash after a start here
    makes its outcome unknown."""
    due_at: int | None = None
    """When it is decided automatically."""
    due_approved: bool = False
    """For an approval: the automatic decision."""
    superseded: bool = False
    """A roll-back has superseded the work that this belongs to."""
    child_awaits: Awaiting | None = None
    """The person or client that the child waits for; None if neither."""
    request: InputRequest | None = None
    """What the tool's server requests; the call goes on with the answers, its `result`."""

    @property
    def awaiting(self) -> Awaiting:
        """Who or what must act."""
        return self.child_awaits or AWAITED[self.kind]

    @property
    def is_approval(self) -> bool:
        """Whether a person decides."""
        return self.kind in APPROVALS

    @property
    def is_client(self) -> bool:
        """Whether the client runs the call, or collects the input that it needs."""
        return self.kind is WaitKind.CLIENT or self.request is not None

    @property
    def is_open(self) -> bool:
        """Whether it may be decided."""
        return self.decided_at is None and not self.superseded

    @property
    def runs(self) -> bool:
        """Whether the call is to run, by a person's decision or with the input that it needed."""
        if self.request is not None:
            return self.decided_at is not None
        return self.is_approval and bool(self.approved) and not self.has_result

    @property
    def is_error(self) -> bool:
        """Whether the outcome is an error that the model reads instead of a result."""
        return not (self.has_result and self.approved)

    @property
    def note(self) -> str:
        """Reason of the person who approved it; empty if it was denied or expired."""
        if not self.is_approval:
            return self.reason or ""
        person = self.approved and self.decided_by is not None
        return (self.reason or "") if person else ""

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments that the tool runs with."""
        return self.parameters if self.effective_parameters is None else self.effective_parameters


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's decision on an approval.

    For unknown_outcome: with `result` it ran, with this result; approved without one runs it again;
    not approved gives it up.
    """

    approved: bool
    reason: str | None = None
    parameters: dict[str, Any] | None = None
    """Edited arguments; None leaves them as proposed."""
    result: Any = NOT_GIVEN

    @property
    def has_result(self) -> bool:
        """Whether there is a result; it may be null."""
        return self.result is not NOT_GIVEN


@dataclass(frozen=True, slots=True)
class CallResult:
    """Result that a client, a child or a time provides for a waiting call."""

    result: Any
    """JSON; the error's text if is_error."""
    is_error: bool = False


def approvals(waits: Iterable[Wait]) -> tuple[Wait, ...]:
    """Return the waits for a person, decided ones too."""
    return tuple(wait for wait in waits if wait.is_approval)


def awaited(waits: Iterable[Wait]) -> Awaiting | None:
    """Return who or what must act first; None if none of these is open."""
    parties = {wait.awaiting for wait in waits if wait.is_open}
    return next((party for party in Awaiting if party in parties), None)


def overdue(wait: Wait) -> Decision | CallResult:
    """Return the automatic decision of a wait that is due."""
    match wait.kind:
        case WaitKind.APPROVAL | WaitKind.UNKNOWN_OUTCOME:
            return Decision(wait.due_approved, NOT_IN_TIME)
        case WaitKind.TIMER:
            return CallResult(None)
        case WaitKind.INPUT if wait.request is not None:
            return CallResult(wait.request.cancelled())
        case WaitKind.CLIENT | WaitKind.INPUT:
            return CallResult("The client gave no result in time.", is_error=True)
        case WaitKind.CHILD:
            return CallResult("The child execution did not end in time.", is_error=True)
