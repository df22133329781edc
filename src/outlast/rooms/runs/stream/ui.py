"""`ui`: the AI SDK's UI message stream.

Source of the format: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol, and npm `ai` 6, whose
`uiMessageChunkSchema` takes no key that it does not know. A model step with its tool calls is
enclosed in start-step and finish-step; a text part ends when something else begins. `data-approval`
with its kind precedes an approval request that is not a plain one.
"""

from collections.abc import Sequence
from typing import Final

from outlast.folding.tool_calls import CallEvent, Calls, Chunk
from outlast.folding.visible_steps import Shown, voided
from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.event import (
    ApprovalRequested,
    ApprovalResolved,
    ChildFinished,
    ChildStarted,
    DataEmitted,
    Entry,
    Event,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionCreated,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionReleased,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    ModelFinished,
    StepRetried,
    TextAdded,
    ThinkingAdded,
    ToolDeferred,
    ToolFinished,
    ToolStarted,
)
from outlast.rooms.runs.stream.frames import numbered

HEADERS: Final = {"x-vercel-ai-ui-message-stream": "v1"}
CHUNK_TYPES: Final = (
    "start",
    "start-step",
    "text-start",
    "text-delta",
    "text-end",
    "reasoning-start",
    "reasoning-delta",
    "reasoning-end",
    "tool-input-available",
    "data-approval",
    "data-input-request",
    "tool-approval-request",
    "tool-output-available",
    "tool-output-error",
    "tool-output-denied",
    "data-retry",
    "finish-step",
    "error",
    "abort",
    "finish",
)
"""Every `type` that a chunk may have, besides `data-NAME` for data events of code agents."""
_PLAIN: Final = "approval"
"""The kind of an approval that is not sent: `tool-approval-request` has no key for it."""
_REASONS: Final = {"stop": "stop", "length": "length", "content_filter": "content-filter"}


class UiFold:
    """Folds log entries into chunks."""

    def __init__(self, execution_id: str, answered: frozenset[str] = frozenset()) -> None:
        """`answered`: calls of the client that it is not to run again."""
        self._id = execution_id
        self._done = answered
        self._calls = Calls()
        self._shown = Shown()
        self._inputs: dict[str, Chunk] = {}
        """The chunks of calls that have no output yet, by call."""
        self._children = set[str]()
        """Of these, calls of agents that are not known to the chat as the server's own."""
        self._part: tuple[str, str] | None = None
        """(text or reasoning, id) of the open part."""
        self._parts = 0
        self._in_step = False
        self._answered = False
        """Whether the open step's model has answered: more text is another step's."""
        self._reason = "stop"

    def frames(self, entry: Entry, index: int) -> Sequence[bytes]:
        self._shown.add(entry.event)
        if isinstance(entry.event, ChildStarted):
            self._children.add(entry.event.tool_call_id)
        return numbered(index, self._chunks(entry.event))

    def _chunks(self, event: Event) -> list[Chunk]:  # noqa: C901, PLR0911 - one answer per kind
        match event:
            case TextAdded(pieces=pieces):
                return self._piece("text", pieces)
            case ThinkingAdded(pieces=pieces):
                return self._piece("reasoning", pieces)
            case ExecutionCreated(conversation_id=conversation_id):
                return [self._start(conversation_id)]
            case ModelFinished(finish_reason=reason):
                return self._answer(reason)
            case (
                ToolStarted()
                | ToolFinished()
                | ApprovalRequested()
                | ApprovalResolved()
                | ClientCallRequested()
                | ClientCallAnswered()
            ):
                return self._call(event)
            case StepRetried(step=step):
                return [*self._end_part(), _retry([step])]
            case DataEmitted(name=name, data=data):
                return [*self._end_part(), {"type": f"data-{name}", "data": data}]
            case ExecutionResumed():
                return self._resume(event)
            case ExecutionCompleted():
                return self._end(self._reason)
            case ExecutionFailed(message=message):
                return self._end("error", {"type": "error", "errorText": message})
            case ExecutionCancelled():
                return self._end("other", {"type": "abort"})
            case (
                ChildStarted()
                | ChildFinished()
                | ExecutionStarted()
                | ToolDeferred()
                | ExecutionSuspended()
                | ExecutionPaused()
                | ExecutionReleased()
            ):
                return []

    def _start(self, conversation_id: str) -> Chunk:
        known = {"executionId": self._id, "conversationId": conversation_id}
        return {"type": "start", "messageId": self._id, "messageMetadata": known}

    def _piece(self, kind: str, pieces: tuple[str, ...]) -> list[Chunk]:
        chunks = self._begin_step()
        if self._part is None or self._part[0] != kind:
            chunks += self._end_part()
            self._parts += 1
            self._part = kind, str(self._parts)
            chunks.append({"type": f"{kind}-start", "id": self._part[1]})
        delta = {"type": f"{kind}-delta", "id": self._part[1], "delta": "".join(pieces)}
        return [*chunks, delta]

    def _answer(self, reason: str) -> list[Chunk]:
        chunks = [*self._begin_step(), *self._end_part()]
        self._answered = True
        self._reason = _REASONS.get(reason, "other")
        return chunks

    def _call(self, event: CallEvent) -> list[Chunk]:
        chunks = self._calls.chunks(event)
        for chunk in chunks:
            if chunk["type"] == "tool-input-available":
                self._inputs[event.tool_call_id] = chunk
                if event.tool_call_id in self._done:
                    chunk["providerExecuted"] = True  # a chat runs what is not
        chunks = [*self._parents(event), *chunks]
        if isinstance(event, ApprovalRequested) and event.approval_kind != _PLAIN:
            kind = {"toolCallId": event.tool_call_id, "kind": event.approval_kind}
            chunks.insert(-1, {"type": "data-approval", "data": kind})
        if chunks and not self._in_step:  # a roll-back to between a model's answer and its calls
            self._in_step = self._answered = True
            return [{"type": "start-step"}, *chunks]
        return [*self._end_part(), *chunks]

    def _parents(self, event: CallEvent) -> list[Chunk]:
        """Return the calls that led to a call of the client, marked as the server's own.

        A chat sends the results of its own calls once all that are not so marked have an output.
        """
        if isinstance(event, ToolFinished):
            self._inputs.pop(event.tool_call_id, None)
            self._children.discard(event.tool_call_id)
        if not (isinstance(event, ClientCallRequested) and event.execution_id is not None):
            return []
        open_calls = sorted(self._children & self._inputs.keys())
        self._children.clear()
        return [{**self._inputs[one], "providerExecuted": True} for one in open_calls]

    def _begin_step(self) -> list[Chunk]:
        chunks = self._end_step() if self._answered else []
        if not self._in_step:
            self._in_step = True
            chunks.append({"type": "start-step"})
        return chunks

    def _end_part(self) -> list[Chunk]:
        if self._part is None:
            return []
        (kind, part), self._part = self._part, None
        return [{"type": f"{kind}-end", "id": part}]

    def _end_step(self) -> list[Chunk]:
        chunks = self._end_part()
        if self._in_step:
            self._in_step = self._answered = False
            chunks.append({"type": "finish-step"})
        return chunks

    def _resume(self, event: ExecutionResumed) -> list[Chunk]:
        void = self._shown.void(event)
        self._calls.forget(void)
        return [*self._end_step(), _retry(void)] if void else []

    def _end(self, reason: str, *last: Chunk) -> list[Chunk]:
        return [*self._end_step(), *last, {"type": "finish", "finishReason": reason}]


def _retry(steps: list[int]) -> Chunk:
    return {"type": "data-retry", "data": voided(steps)}
