"""An execution gathered from its log alone: what GET answers once it has ended."""

from typing import Any

from outlast.model.event import (
    ApprovalRequested,
    ApprovalResolved,
    Entry,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionCreated,
    ExecutionFailed,
    ExecutionResumed,
    ExecutionStarted,
    ModelFinished,
    StepRetried,
    TextAdded,
    ThinkingAdded,
    ToolFinished,
    ToolStarted,
)
from outlast.model.execution import Execution, Failure, Status
from outlast.model.usage import NO_USAGE
from outlast.rooms.executions import render, schemas


class Record:
    """Hears every entry of one execution's log in order, from its start."""

    def __init__(self, execution_id: str) -> None:
        self.id = execution_id
        self._created: ExecutionCreated | None = None
        self._created_at = self._at = 0
        self._started_at: int | None = None
        self._texts: list[str] = []
        """What the open step has shown."""
        self._said = ""
        """The text of the newest finished model step."""
        self._output: str | None = None
        self._shown_at: int | None = None
        """When the open step showed its first piece, as long as no commit has taken note of it."""
        self._first_token_ms: int | None = None
        self._usage = NO_USAGE
        self._parameters: dict[str, dict[str, Any]] = {}
        self._calls: dict[int, schemas.ToolCall] = {}
        self._status = Status.QUEUED
        self._error: Failure | None = None

    def add(self, entry: Entry) -> None:
        """Take the next entry into account."""
        event = entry.event
        self._at = entry.at
        if isinstance(event, TextAdded | ThinkingAdded):
            self._add_text(entry.at, event)
            return
        self._note_first_token(lost=isinstance(event, ExecutionStarted))
        match event:
            case ExecutionCreated():
                self._created, self._created_at = event, entry.at
            case ExecutionStarted():
                self._started_at = entry.at if self._started_at is None else self._started_at
                self._texts.clear()
            case StepRetried():
                self._texts.clear()
            case ModelFinished():
                self._finish_model(event)
            case ToolStarted() | ApprovalRequested():
                self._parameters[event.tool_call_id] = event.parameters
            case ApprovalResolved():
                if event.parameters is not None:
                    self._parameters[event.tool_call_id] = event.parameters
            case ToolFinished():
                self._finish_tool(event)
            case _:
                self._end(event)

    def execution(self) -> schemas.Execution:
        """The execution as it stands behind the last entry."""
        assert self._created is not None
        ended = self._status is not Status.QUEUED
        row = Execution(
            id=self.id,
            workspace_id="",
            agent_id=self._created.agent_id,
            agent_version=self._created.agent_version,
            conversation_id=self._created.conversation_id,
            turn=0,
            status=self._status,
            segment=0,
            input="",
            created_at=self._created_at,
            updated_at=self._at,
            parent_id=self._created.parent_id,
            started_at=self._started_at,
            completed_at=self._at if ended else None,
            metadata=self._created.metadata,
            output=self._output,
            error=self._error,
            usage=self._usage,
            first_token_ms=self._first_token_ms,
            tool_ms=sum(call["duration"] for call in self._calls.values()),
        )
        return render.execution_of(row, [call for _, call in sorted(self._calls.items())])

    def _add_text(self, at: int, event: TextAdded | ThinkingAdded) -> None:
        if self._shown_at is None:
            self._shown_at = at
        if isinstance(event, TextAdded):
            self._texts.extend(event.pieces)

    def _note_first_token(self, *, lost: bool) -> None:
        """The step's commit notes it; a worker that died before that has noted nothing."""
        if self._shown_at is not None and self._first_token_ms is None and not lost:
            self._first_token_ms = self._shown_at - self._created_at
        self._shown_at = None

    def _finish_model(self, event: ModelFinished) -> None:
        self._usage += event.usage
        self._said = "".join(self._texts)
        self._texts.clear()
        if self._said:
            self._output = self._said

    def _finish_tool(self, event: ToolFinished) -> None:
        self._calls[event.step] = {
            "id": event.tool_call_id,
            "name": event.name,
            "parameters": self._parameters.get(event.tool_call_id, {}),
            "result": event.result,
            "isError": event.is_error,
            "duration": event.duration_ms,
        }

    def _end(self, event: object) -> None:
        match event:
            case ExecutionCompleted():
                self._status, self._output = Status.COMPLETED, self._said
            case ExecutionFailed():
                self._status = Status.FAILED
                self._error = Failure(event.type, event.code, event.message)
            case ExecutionCancelled():
                self._status = Status.CANCELLED
            case ExecutionResumed():
                self._status, self._error = Status.QUEUED, None
            case _:
                pass
