"""Input that a tool's server requests of a person during a call, and the answers.

A request has one question or more. Each is answered with accept and content, decline or cancel, as
MCP has it (elicitation).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

ACTIONS: Final = ("accept", "decline", "cancel")
"""What a person may do with a question."""
INPUT_SECONDS: Final = 86_400.0
"""How long a call waits for its input; then all its questions are cancelled."""
LIVE_SECONDS: Final = 600.0
"""How long it waits while the server holds the call open, which no crash survives."""
MAX_ROUNDS: Final = 20
"""Maximum requests of one call that are no live ones."""

Answers = dict[str, dict[str, Any]]
"""By a question's id: `action`, and `content` if it is accepted."""


@dataclass(frozen=True, slots=True)
class InputRequest:
    """What a tool's server requests of a person before a call can end."""

    questions: dict[str, dict[str, Any]]
    """By id: `message`, `mode` (form or url), and the `schema` of the content or the `url`."""
    state: str | None = None
    """The server's own, sent back with the answers; never shown."""
    live: bool = False
    """Whether the server holds the call open: the answer goes over that connection or nowhere."""
    approved: bool = False
    """Whether a person had approved the call before."""
    rounds: int = 1
    """Number of such requests of this call so far."""
    of_task: bool = False
    """Whether the server works on the call by itself, and forgets it once it is given up."""

    def stored(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "questions": self.questions,
            "state": self.state,
            "live": self.live,
            "approved": self.approved,
            "rounds": self.rounds,
            **({"of_task": True} if self.of_task else {}),
        }

    @staticmethod
    def of(stored: Mapping[str, Any]) -> "InputRequest":
        """Return the request that was stored."""
        return InputRequest(**stored)

    def shown(self) -> list[dict[str, Any]]:
        """Return the questions as a person sees them."""
        return [{"id": key, **question} for key, question in self.questions.items()]

    def cancelled(self) -> Answers:
        """Return the answers that cancel each question."""
        return {key: {"action": "cancel"} for key in self.questions}


@dataclass(frozen=True, slots=True)
class GivenInput:
    """A request that is answered."""

    request: InputRequest
    answers: Answers
