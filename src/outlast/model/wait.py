"""A wait: a tool call whose result comes from outside the segment, or what came of it.

It waits for a person, a client, a child execution or a time. A person's decision lets it run or
not; what any other party gives is its result. An approval is a wait for a person.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class NotGiven:
    """Sentinel for 'no result given'; None is a valid result."""


NOT_GIVEN: Final = NotGiven()


class Awaiting(StrEnum):
    """Who or what is to act, in the order in which it is shown where several are.

    A person and a client act only once they know of it, so they come first, and a person before a
    client that may ask it. A child and a time come by themselves.
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
    """A person's word on a call that ran when the server died and may have had its effect."""
    CLIENT = "client"
    """The result of a tool that the client runs."""
    INPUT = "input"
    """Input that the client collects."""
    CHILD = "child"
    """The end of a child execution."""
    TIMER = "timer"
    """A time."""


AWAITED: Final[dict[WaitKind, Awaiting]] = {
    WaitKind.APPROVAL: Awaiting.PERSON,
    WaitKind.UNKNOWN_OUTCOME: Awaiting.PERSON,
    WaitKind.CLIENT: Awaiting.CLIENT,
    WaitKind.INPUT: Awaiting.CLIENT,
    WaitKind.CHILD: Awaiting.CHILD,
    WaitKind.TIMER: Awaiting.TIME,
}
"""Whom each kind waits for."""
APPROVALS: Final = (WaitKind.APPROVAL, WaitKind.UNKNOWN_OUTCOME)
"""The kinds that the API shows as approvals."""
NOT_IN_TIME: Final = "Nobody decided in time."
"""The reason of an approval that has expired."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One tool call's need of something from outside; decided_at is None while it waits."""

    execution_id: str
    tool_call_id: str
    kind: WaitKind
    name: str
    parameters: dict[str, Any]
    """As the model proposed them."""
    requested_at: int
    decided_at: int | None = None
    approved: bool | None = None
    """Of an approval, what was decided; of another wait, whether its result is no error."""
    reason: str | None = None
    """Of the person who decided it, or who approved the call before it waited for another."""
    effective_parameters: dict[str, Any] | None = None
    """As the person edited them; None if they stand as proposed."""
    result: Any = None
    """What the call gave. Of an unknown outcome: it ran, and this is what the person knows."""
    has_result: bool = False
    decided_by: str | None = None
    """The key of the person or client; None if a child or a time decided."""
    step: int = 0
    """The number of the call's step; 0 in requests of early versions."""
    begun_at: int | None = None
    """When the approved call was started; a crash behind that makes its outcome unknown."""
    due_at: int | None = None
    """When it is decided by itself."""
    due_approved: bool = False
    """Of an approval: what is decided then."""
    superseded: bool = False
    """A roll-back has taken back the work that this belongs to."""
    child_awaits: Awaiting | None = None
    """The person or client that the child itself waits for; None if it needs neither."""

    @property
    def awaiting(self) -> Awaiting:
        """Who or what is to act."""
        return self.child_awaits or AWAITED[self.kind]

    @property
    def is_approval(self) -> bool:
        """Whether a person decides."""
        return self.kind in APPROVALS

    @property
    def is_open(self) -> bool:
        """Whether it may be decided."""
        return self.decided_at is None and not self.superseded

    @property
    def runs(self) -> bool:
        """Whether the call is to run, as a person decided."""
        return self.is_approval and bool(self.approved) and not self.has_result

    @property
    def is_error(self) -> bool:
        """Whether what was decided is an error that the model reads in the place of a result."""
        return not (self.has_result and self.approved)

    @property
    def note(self) -> str:
        """The reason of the person who approved it; none if it was denied or ran out of time."""
        if not self.is_approval:
            return self.reason or ""
        person = self.approved and self.decided_by is not None
        return (self.reason or "") if person else ""

    @property
    def arguments(self) -> dict[str, Any]:
        """What the tool runs with."""
        return self.parameters if self.effective_parameters is None else self.effective_parameters


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's decision on an approval.

    For unknown_outcome: with `result` it ran, and gave this; approved without one runs it again;
    not approved gives it up.
    """

    approved: bool
    reason: str | None = None
    parameters: dict[str, Any] | None = None
    """The arguments as edited; None leaves them as proposed."""
    result: Any = NOT_GIVEN

    @property
    def has_result(self) -> bool:
        """Whether a result is given; it may be null."""
        return self.result is not NOT_GIVEN


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a client, a child or a time gives to the call that waits for it."""

    result: Any
    """JSON; the error's text if is_error."""
    is_error: bool = False


def approvals(waits: Iterable[Wait]) -> tuple[Wait, ...]:
    """Return those that wait, or waited, for a person."""
    return tuple(wait for wait in waits if wait.is_approval)


def awaited(waits: Iterable[Wait]) -> Awaiting | None:
    """Return who or what is to act first; None if none of these is open."""
    parties = {wait.awaiting for wait in waits if wait.is_open}
    return next((party for party in Awaiting if party in parties), None)


def overdue(wait: Wait) -> Decision | CallResult:
    """Return what is decided of a wait whose time is over."""
    match wait.kind:
        case WaitKind.APPROVAL | WaitKind.UNKNOWN_OUTCOME:
            return Decision(wait.due_approved, NOT_IN_TIME)
        case WaitKind.TIMER:
            return CallResult(None)
        case WaitKind.CLIENT | WaitKind.INPUT:
            return CallResult("The client gave no result in time.", is_error=True)
        case WaitKind.CHILD:
            return CallResult("The child execution did not end in time.", is_error=True)
