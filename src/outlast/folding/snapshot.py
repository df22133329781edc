"""Builds an execution from its log alone, equal to what GET returns once it has ended."""

from functools import reduce
from operator import add
from typing import Any, Final

from outlast.model.event import (
    START,
    TEXTS,
    ApprovalRequested,
    ApprovalResolved,
    ChildFinished,
    Cursor,
    Ended,
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
    ToolFinished,
    ToolStarted,
)
from outlast.model.execution import Execution, Failure, Status, ToolStep
from outlast.model.message import ToolCall
from outlast.model.usage import NO_USAGE, NOTHING_SPENT, Spent, Usage

SILENT: Final = (ExecutionStarted, ModelFinished, ExecutionSuspended, ExecutionReleased)
"""Events without a frame."""
_FIRST: Final = Cursor(0, 1)


class Snapshot:
    """Reads every entry of one execution's log in order, from its start."""

    def __init__(self, execution_id: str) -> None:
        self.id = execution_id
        self._created: ExecutionCreated | None = None
        self._created_at = self._at = 0
        self._started_at: int | None = None
        self._texts: list[str] = []
        """Text of the open step."""
        self._models: dict[int, tuple[str, Usage]] = {}
        """Text and usage of each finished model step, in order."""
        self._ends: dict[int, Cursor] = {}
        """Cursor of the last frame of each finished step."""
        self._shown: Entry | None = None
        """The newest entry with a frame."""
        self._credits = 0
        self._output: str | None = None
        self._shown_at: int | None = None
        """When the open step showed its first piece, until a commit records it."""
        self._first_token_ms: int | None = None
        self._parameters: dict[str, dict[str, Any]] = {}
        self._calls: dict[int, ToolStep] = {}
        self._status = Status.QUEUED
        self._error: Failure | None = None
        self._below = NOTHING_SPENT
        """What those below it had spent when it ended."""

    def add(self, entry: Entry) -> None:
        """Read the next entry."""
        event = entry.event
        self._at = entry.at
        if not isinstance(event, SILENT):
            self._shown = entry
        if isinstance(event, TEXTS):
            self._add_text(entry.at, event)
            return
        if not _is_of_another(event):
            self._note_first_token(lost=_follows_a_death(event))
        match event:
            case ExecutionCreated():
                self._created, self._created_at = event, entry.at
            case ExecutionStarted():
                self._started_at = entry.at if self._started_at is None else self._started_at
                self._texts.clear()
            case StepRetried():
                self._texts.clear()
            case ModelFinished():
                self._ends[event.step] = START if self._shown is None else self._shown.cursor
                self._finish_model(event)
            case ToolStarted() | ApprovalRequested():
                self._parameters[event.tool_call_id] = event.parameters
            case ApprovalResolved():
                if event.parameters is not None:
                    self._parameters[event.tool_call_id] = event.parameters
            case ToolFinished(execution_id=None):
                self._ends[event.step] = entry.cursor
                self._finish_tool(entry.at, event)
            case _:
                self._move(event)

    @property
    def stands(self) -> Cursor:
        """Last frame of the newest finished step not superseded; without one, the log's first."""
        return max(self._ends.values(), default=_FIRST)

    @property
    def agent(self) -> str:
        """The agent's name."""
        assert self._created is not None
        return self._created.agent

    @property
    def tool_steps(self) -> list[ToolStep]:
        """The finished tool calls not superseded, in the order of their steps."""
        return [step for _, step in sorted(self._calls.items())]

    @property
    def spent(self) -> Spent:
        """What it and those below it had spent by its end."""
        return Spent(self._usage(), self._credits) + self._below

    def _usage(self) -> Usage:
        return reduce(add, (usage for _, usage in self._models.values()), NO_USAGE)

    def execution(self) -> Execution:
        """Return the execution's row after the last entry, as far as the log contains it."""
        assert self._created is not None
        ended = self._status is not Status.QUEUED
        return Execution(
            id=self.id,
            workspace_id="",
            agent_id=self._created.agent_id,
            agent_version=self._created.agent_version,
            conversation_id=self._created.conversation_id,
            turn=0,
            status=self._status,
            segment=0,
            input=self._created.input,
            created_at=self._created_at,
            updated_at=self._at,
            parent_id=self._created.parent_id,
            started_at=self._started_at,
            completed_at=self._at if ended else None,
            metadata=self._created.metadata,
            user=self._created.user,
            output=self._output,
            error=self._error,
            usage=self._usage(),
            credits=self._credits,
            first_token_ms=self._first_token_ms,
            tool_ms=sum(step.duration_ms for step in self._calls.values()),
        )

    def _add_text(self, at: int, event: TextAdded | ThinkingAdded) -> None:
        if self._shown_at is None:
            self._shown_at = at
        if isinstance(event, TextAdded):
            self._texts.extend(event.pieces)

    def _note_first_token(self, *, lost: bool) -> None:
        """Note the first token, as the step's commit does; a worker that died before noted none."""
        if self._shown_at is not None and self._first_token_ms is None and not lost:
            self._first_token_ms = max(0, self._shown_at - self._created_at)
        self._shown_at = None

    def _finish_model(self, event: ModelFinished) -> None:
        text = "".join(self._texts)
        self._models[event.step] = (text, event.usage)
        self._credits += event.charged
        self._texts.clear()
        if text:
            self._output = text

    def _resume(self, event: ExecutionResumed) -> None:
        """Drop superseded work; it stays charged."""
        self._texts.clear()
        self._status, self._error = Status.QUEUED, None
        for ended in (self._models, self._calls, self._ends):
            for step in [step for step in ended if event.voids(step)]:
                del ended[step]
        texts = [text for text, _ in self._models.values() if text]
        self._output = texts[-1] if texts else None

    def _finish_tool(self, at: int, event: ToolFinished) -> None:
        self._credits += event.credits
        parameters = self._parameters.get(event.tool_call_id, {})
        self._calls[event.step] = ToolStep(
            id="",  # which the log does not tell
            number=event.step,
            call=ToolCall(event.tool_call_id, event.name, parameters),
            result=event.result,
            is_error=event.is_error,
            started_at=at - event.duration_ms,
            ended_at=at,
            images=event.images,
        )

    def _move(self, event: object) -> None:
        match event:
            case ExecutionPaused():
                self._texts.clear()
                self._credits += event.charged
            case ExecutionResumed():
                self._resume(event)
            case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled():
                self._end(event)
            case _:
                pass

    def _end(self, event: Ended) -> None:
        self._below = NOTHING_SPENT if event.below is None else Spent.of(event.below)
        match event:
            case ExecutionCompleted():
                last = next(reversed(self._models.values()), (event.output, NO_USAGE))
                self._status, self._output = Status.COMPLETED, last[0]
            case ExecutionFailed():
                self._status = Status.FAILED
                self._error = Failure(event.type, event.code, event.message)
            case ExecutionCancelled():
                self._status = Status.CANCELLED


def _is_of_another(event: Event) -> bool:
    """Whether another than the segment has written it: a person, or the end of a child."""
    match event:
        case ChildFinished() | ApprovalResolved():
            return True
        case ApprovalRequested() | ToolFinished():
            return event.execution_id is not None
        case _:
            return False


def _follows_a_death(event: Event) -> bool:
    """Whether text before this event is of a worker that died: its own commit would end the step.

    An execution may end, or its task be paused, without a segment to begin.
    """
    match event:
        case ExecutionStarted() | ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled():
            return True
        case ExecutionPaused():
            return not (event.input_tokens or event.output_tokens)
        case _:
            return False
