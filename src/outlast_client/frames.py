"""Frames of a stream, by `type`; what each means: docs/http.md, "Streams".

`Frame` is the union of all kinds, so that a type checker knows a frame's data once its `type` is
compared: `match frame.type: case "text_delta": print(frame.data["text"])`. A server that is newer
may send a type, or a field, that is not named here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, NotRequired, TypeAlias, TypedDict, TypeVar

from outlast_client.types import Execution, Image, Usage
from outlast_client.wire import json_of

Type_co = TypeVar("Type_co", covariant=True)
Data_co = TypeVar("Data_co", covariant=True)


@dataclass(frozen=True, slots=True)
class FrameOf(Generic[Type_co, Data_co]):
    """One frame of a stream, of a kind."""

    id: str | None
    """Cursor after this frame."""
    data: Data_co

    @property
    def type(self) -> Type_co:
        """text_delta, tool_call_start, tool_call_end, retry, done, error and the others."""
        data: Any = self.data
        kind: Type_co = data.get("type", "")
        return kind


class _Woven(TypedDict):
    cursor: NotRequired[str]
    """Where a stream has frames of children too: the cursor in the stream of its own execution."""


class _Data(_Woven):
    executionId: NotRequired[str]
    """Whose frame it is, where a stream has those of children too."""


class StartData(_Woven):
    """The execution begins."""

    type: Literal["start"]
    executionId: str
    conversationId: str


class TextData(_Data):
    """A piece of the answer."""

    type: Literal["text_delta"]
    text: str


class ThinkingData(_Data):
    """A piece of what the model thinks."""

    type: Literal["thinking"]
    text: str


class ToolStartData(_Data):
    """A tool call begins."""

    type: Literal["tool_call_start"]
    id: str
    name: str
    parameters: dict[str, Any]


class ToolEndData(_Data):
    """A tool call has its result."""

    type: Literal["tool_call_end"]
    id: str
    name: str
    result: Any
    isError: bool
    images: NotRequired[list[Image]]


class ChildStartedData(_Woven):
    """A call has started another agent, as an execution of its own."""

    type: Literal["child_started"]
    toolCallId: str
    executionId: str
    agent: str
    childId: NotRequired[str]


class ChildFinishedData(_Woven):
    """The execution of a call has ended."""

    type: Literal["child_finished"]
    toolCallId: str
    executionId: str
    status: str
    childId: NotRequired[str]


class ApprovalRequestedData(_Data):
    """A call waits for a person."""

    type: Literal["approval_requested"]
    toolCallId: str
    name: str
    parameters: dict[str, Any]
    kind: Literal["approval", "unknown_outcome"]


class ApprovalResolvedData(_Data):
    """A call was decided, or its time is over."""

    type: Literal["approval_resolved"]
    toolCallId: str
    approved: bool
    reason: str | None
    parameters: dict[str, Any] | None
    decidedBy: str | None


class ClientCallRequestedData(_Data):
    """A call waits for the client to run it."""

    type: Literal["client_call_requested"]
    toolCallId: str
    name: str
    parameters: dict[str, Any]


class InputRequestedData(_Data):
    """A call waits for what a person enters."""

    type: Literal["input_requested"]
    toolCallId: str
    name: str
    parameters: dict[str, Any]
    questions: list[dict[str, Any]]


class ClientCallAnsweredData(_Data):
    """A call that waited for the client has its result."""

    type: Literal["client_call_answered"]
    toolCallId: str
    isError: bool
    reason: str | None
    decidedBy: str | None


class RetryData(_Data):
    """The step runs again: the text since the last frame that was no text is void."""

    type: Literal["retry"]
    step: int


class CustomData(_Data):
    """What a code agent has sent."""

    type: Literal["custom"]
    name: str
    data: Any


class PausedData(_Data):
    """The execution is paused."""

    type: Literal["paused"]
    reason: str | None


class ResumedData(_Data):
    """It continues from a checkpoint: the frames between `behind` and this one are void."""

    type: Literal["resumed"]
    checkpointId: str
    step: int
    behind: str


class DoneData(_Data):
    """The execution has ended as it should, or was cancelled."""

    type: Literal["done"]
    usage: Usage
    execution: Execution


class ErrorData(_Data):
    """The execution has failed."""

    type: Literal["error"]
    message: str
    code: str
    execution: Execution


Frame: TypeAlias = (
    FrameOf[Literal["start"], StartData]
    | FrameOf[Literal["text_delta"], TextData]
    | FrameOf[Literal["thinking"], ThinkingData]
    | FrameOf[Literal["tool_call_start"], ToolStartData]
    | FrameOf[Literal["tool_call_end"], ToolEndData]
    | FrameOf[Literal["child_started"], ChildStartedData]
    | FrameOf[Literal["child_finished"], ChildFinishedData]
    | FrameOf[Literal["approval_requested"], ApprovalRequestedData]
    | FrameOf[Literal["approval_resolved"], ApprovalResolvedData]
    | FrameOf[Literal["client_call_requested"], ClientCallRequestedData]
    | FrameOf[Literal["input_requested"], InputRequestedData]
    | FrameOf[Literal["client_call_answered"], ClientCallAnsweredData]
    | FrameOf[Literal["retry"], RetryData]
    | FrameOf[Literal["custom"], CustomData]
    | FrameOf[Literal["paused"], PausedData]
    | FrameOf[Literal["resumed"], ResumedData]
    | FrameOf[Literal["done"], DoneData]
    | FrameOf[Literal["error"], ErrorData]
)
"""A frame of any kind."""


class FrameParser:
    """Parses server-sent events (WHATWG HTML standard); an incomplete frame is dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._cursor: str | None = None
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Yield the frames that these bytes complete."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            name, _, value = line.removesuffix(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            if name == b"id":
                self._cursor = value.decode()
            elif name == b"data":
                self._data.append(value)
            elif not name and not value and self._data:
                content = json_of(b"\n".join(self._data))
                self._data = []
                if content is not None:
                    yield frame(self._cursor, content)


def frame(cursor: str | None, data: Any) -> Frame:
    """Return the frame of this data."""
    made: Frame = FrameOf(cursor, data)
    return made
