"""An approval: a tool call that waits for a person, or what the person said."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class NotGiven:
    """Where nothing was said; null is something."""


NOT_GIVEN: Final = NotGiven()


class WaitKind(StrEnum):
    """Why a person is asked."""

    APPROVAL = "approval"
    """The tool asks for it before every run."""
    UNKNOWN_OUTCOME = "unknown_outcome"
    """It was running when the server died; it may or may not have had its effect."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One tool call's need of a decision; decided_at is None while it waits."""

    execution_id: str
    tool_call_id: str
    kind: WaitKind
    name: str
    parameters: dict[str, Any]
    """As the model proposed them."""
    requested_at: int
    decided_at: int | None = None
    approved: bool | None = None
    reason: str | None = None
    effective_parameters: dict[str, Any] | None = None
    """As the person edited them; None where they stand as proposed."""
    result: Any = None
    """For unknown_outcome: it ran, and this is what it gave."""
    has_result: bool = False
    decided_by: str | None = None
    """The key of the person who decided; None where it expired."""
    step: int = 0
    """The number of the call's step; 0 where an earlier version asked."""
    begun_at: int | None = None
    """When the approved call was started; a crash behind that makes its outcome unknown."""
    expires_at: int | None = None
    """When nobody's word decides."""
    expires_approved: bool = False
    """What is decided then."""
    superseded: bool = False
    """A roll-back has taken back the work that this belongs to."""

    @property
    def note(self) -> str:
        """The reason of the person who approved it; none of what was denied or ran out of time."""
        person = self.approved and self.decided_by is not None
        return (self.reason or "") if person else ""

    @property
    def is_open(self) -> bool:
        """Whether a person may decide."""
        return self.decided_at is None and not self.superseded

    @property
    def arguments(self) -> dict[str, Any]:
        """What the tool runs with."""
        return self.parameters if self.effective_parameters is None else self.effective_parameters


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody says to an approval.

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
        """Whether a result is told; it may be null."""
        return self.result is not NOT_GIVEN
