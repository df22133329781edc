"""Tool calls that the client runs: tools that a request declares, and the events of such calls.

A call of a client's tool waits (`WaitKind.CLIENT`) until the client gives its result or error, or
its time is over.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

from outlast.model.error import NotFound

DEFAULT_SECONDS: Final = 86_400.0
"""How long a call waits for its result, unless the tool says otherwise."""
MAX_SECONDS: Final = 31_536_000.0
"""Longest such time."""
MAX_RESULT_BYTES: Final = 262_144
"""Maximum bytes of a result as JSON, as for other kinds of tools."""
MAX_TOOLS: Final = 64
"""Maximum tools that one request declares."""
MAX_TOOLS_BYTES: Final = 65_536
"""Maximum bytes of these tools as JSON."""


class ClientCallNotFound(NotFound):
    """There is no such call for the client to run."""

    code = "client_call_not_found"


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool that the request has declared and the client runs."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments."""
    timeout: float = DEFAULT_SECONDS
    """Seconds that a call waits for its result."""


def client_tools_from(written: Iterable[dict[str, Any]]) -> tuple[ClientTool, ...]:
    """Return the tools that were stored as JSON of their fields."""
    return tuple(ClientTool(**one) for one in written)


@dataclass(frozen=True, slots=True)
class ClientCallRequested:
    """A tool call waits for the client, which runs it."""

    kind: ClassVar = "client_call.requested"
    step: int
    tool_call_id: str
    name: str
    parameters: dict[str, Any]
    execution_id: str | None = None
    """The child execution whose call it is, as in `ApprovalRequested`."""
    input: list[dict[str, Any]] | None = None
    """The questions of its server, each with its id; None: the client runs the call."""


@dataclass(frozen=True, slots=True)
class ClientCallAnswered:
    """The client gave the result of a tool call, which the next segment records, or gave none."""

    kind: ClassVar = "client_call.answered"
    step: int
    tool_call_id: str
    is_error: bool
    decided_by: str | None = None
    """Id of the client's key; None if there was no result in time."""
    reason: str | None = None
    """Why no result is awaited any more, if the call's execution has ended or was rolled back."""
    execution_id: str | None = None
    """As in `ClientCallRequested`."""


ClientCallEvent: TypeAlias = ClientCallRequested | ClientCallAnswered
