"""A segment while it runs: the execution's row as last written, and what the open step has shown.

Only the runner of the segment touches it; others may call `stop`.
"""

import asyncio
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any, Final, TypeAlias, TypeVar

from outlast.model.agent import Agent
from outlast.model.event import TextAdded, ThinkingAdded
from outlast.model.execution import Execution, ModelStep, Step, ToolStep
from outlast.model.message import Message, Part, Text, Thinking, ToolCall

T = TypeVar("T")


class Stop(StrEnum):
    """Why a segment is asked to end before its execution does."""

    CANCEL = "cancel"
    LIMIT = "limit"
    RELEASE = "release"
    """At the next boundary: the server is leaving."""
    ABANDON = "abandon"
    """At once and without a word: the log has been lost, or another worker has the execution."""


_INTERRUPTING: Final = frozenset({Stop.CANCEL, Stop.LIMIT, Stop.ABANDON})


class Interrupted(Exception):
    """The work was stopped from outside."""


TextKind: TypeAlias = type[TextAdded] | type[ThinkingAdded]
TextRun: TypeAlias = tuple[int, TextKind, list[str]]
"""(at, kind, pieces): one part of a message."""


class StepText:
    """The pieces that the open step has streamed."""

    __slots__ = ("_fresh", "appended", "pieces", "runs")

    def __init__(self) -> None:
        self.runs: list[TextRun] = []
        self._fresh: list[tuple[int, int, TextKind, list[str]]] = []
        """(at, part, kind, pieces) that were not handed to the store yet."""
        self.pieces = 0
        self.appended = 0
        """How many of the pieces were handed to the store."""

    def add(self, at: int, kind: TextKind, piece: str) -> None:
        """Add a piece; a part ends where the kind changes."""
        runs, fresh = self.runs, self._fresh
        if not runs or runs[-1][1] is not kind:
            runs.append((at, kind, []))
        runs[-1][2].append(piece)
        part = len(runs) - 1
        if not fresh or fresh[-1][1] != part:
            fresh.append((at, part, kind, []))
        fresh[-1][3].append(piece)
        self.pieces += 1

    def whole(self, step: int) -> tuple[tuple[int, TextAdded | ThinkingAdded], ...]:
        """Every part as one event."""
        return tuple(
            (at, kind(step, part, tuple(pieces)))
            for part, (at, kind, pieces) in enumerate(self.runs)
        )

    def take(self, step: int) -> tuple[tuple[int, TextAdded | ThinkingAdded], ...]:
        """What was not handed to the store yet."""
        fresh, self._fresh = self._fresh, []
        self.appended = self.pieces
        return tuple((at, kind(step, part, tuple(pieces))) for at, part, kind, pieces in fresh)

    def parts(self) -> tuple[Part, ...]:
        """The text so far as parts of a message."""
        return tuple(
            Text("".join(pieces)) if kind is TextAdded else Thinking("".join(pieces))
            for _, kind, pieces in self.runs
        )


class Segment:
    """One unbroken stretch of steps of one execution."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.agent: Agent | None = None
        self.history: tuple[Message, ...] = ()
        """The messages of the conversation's earlier turns."""
        self.steps: list[Step] = []
        self.last_model_step: ModelStep | None = None
        self.open_step = 1
        """The number of the next model step."""
        self.text = StepText()
        self.asked = ""
        """All that the open model request was sent, for estimating its tokens."""
        self.stopped: Stop | None = None
        self.began: float | None = None
        """Monotonic seconds when this segment had its worker."""
        self._work: set[asyncio.Task[Any]] = set()

    def stop(self, reason: Stop) -> None:
        """Ask the segment to end; the first interrupting reason stays."""
        if self.stopped in _INTERRUPTING:
            return
        self.stopped = reason
        if reason in _INTERRUPTING:
            self.interrupt()

    def interrupt(self) -> None:
        """Stop the model call or the tools that run now."""
        for task in self._work:
            task.cancel()

    @property
    def interrupted(self) -> bool:
        """Whether it was asked to end at once."""
        return self.stopped in _INTERRUPTING

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run interruptible work. Raises Interrupted."""
        if self.interrupted:
            work.close()
            raise Interrupted
        task = self.spawn(work)
        await asyncio.wait({task})
        if task.cancelled():
            raise Interrupted
        return task.result()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start interruptible work."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def add(self, *steps: Step) -> None:
        """Take recorded steps into account."""
        for step in steps:
            self.steps.append(step)
            if isinstance(step, ModelStep):
                self.last_model_step = step
                self.open_step = step.number + len(step.message.tool_calls) + 1

    def unanswered(self) -> tuple[tuple[int, ToolCall], ...]:
        """Tool calls of the newest model step that have no result yet, with their step numbers."""
        last = self.last_model_step
        if last is None:
            return ()
        answered = {s.call.id for s in self.steps if isinstance(s, ToolStep)}
        return tuple(
            (number, call)
            for number, call in enumerate(last.message.tool_calls, last.number + 1)
            if call.id not in answered
        )

    def output(self) -> str | None:
        """The text of the newest model step that has any, the open step first."""
        texts = [part.text for part in self.text.parts() if isinstance(part, Text)]
        if texts:
            return "".join(texts)
        models = (s for s in reversed(self.steps) if isinstance(s, ModelStep))
        return next((s.message.text for s in models if s.message.text), None)
