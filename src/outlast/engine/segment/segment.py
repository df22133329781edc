"""A segment while it runs: the execution's row as last written, and what the open step has shown.

Only the runner of the segment touches it; others may call `stop`.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterable
from dataclasses import replace
from enum import StrEnum
from itertools import takewhile
from typing import Any, Final, TypeAlias, TypeVar

from outlast.agents.port import ModelRequest
from outlast.engine.segment.suspects import SUSPECT_TRIES, Suspects
from outlast.model.agent import Agent
from outlast.model.event import TextAdded, ThinkingAdded
from outlast.model.execution import Execution, ModelStep, PauseRequest, Status, Step, ToolStep
from outlast.model.message import Message, Part, Text, Thinking, ToolCall
from outlast.model.steps import Calls, unanswered
from outlast.model.wait import Wait
from outlast.store.executions.values import ActiveTime

T = TypeVar("T")


class Stop(StrEnum):
    """Why a segment is asked to end before its execution does."""

    CANCEL = "cancel"
    LIMIT = "limit"
    PAUSE = "pause"
    """At the next boundary: somebody asked."""
    PAUSE_NOW = "pause_now"
    """At once where a model is asked, else at the next boundary: tools that run are not cut off."""
    RELEASE = "release"
    """At the next boundary: the server is leaving."""
    REFUSED = "refused"
    """At once: the database does not take the text of the open step."""
    LEAVE = "leave"
    """At once: the server cannot wait for the next boundary; the try does not count."""
    ABANDON = "abandon"
    """At once and without a word: the log has been lost, or another worker has the execution."""


LEFT: Final = frozenset({Stop.LEAVE, Stop.ABANDON})
"""Another segment takes the execution up where this one was."""
_INTERRUPTING: Final = LEFT | {Stop.CANCEL, Stop.LIMIT, Stop.REFUSED}
_STRENGTH: Final = {Stop.RELEASE: 0, Stop.PAUSE: 1, Stop.PAUSE_NOW: 2}
"""Of what does not interrupt, the stronger request stays."""


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

    def not_taken(self, texts: Iterable[tuple[int, TextAdded | ThinkingAdded]]) -> None:
        """The store has none of what was handed to it; the step's end brings it along."""
        self.appended -= sum(len(text.pieces) for _, text in texts)

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
        self.waits: dict[str, Wait] = {}
        """What was asked of the newest answer's calls, by call; decided by whoever decides."""
        self.approved: dict[str, dict[str, Any]] = {}
        """Approved calls that may run, with the arguments that they run with."""
        self.in_flight: dict[str, tuple[int, ToolCall]] = {}
        """Calls that were begun and have no result."""
        self._open: dict[str, tuple[int, ToolCall]] = {}
        """Calls of the newest model step that have no result, in their order."""
        self.highest_step = 0
        """The highest number among the recorded steps."""
        self.text = StepText()
        self.request: ModelRequest | None = None
        """The open model request, for estimating its tokens."""
        self.model = ""
        """The agent's name of the model that was asked last."""
        self.continues = execution.segment > 0
        """Whether an earlier segment may have recorded something."""
        self.takes_over = execution.status is Status.RUNNING
        """Whether an earlier segment has ended by a crash."""
        self.counted = True
        """Whether its begin is a try of the execution."""
        self.suspects: Suspects | None = None
        """The door at which it has a place, until it has proved harmless."""
        self.entered = 0.0
        """Monotonic seconds when it got that place."""
        self.begun = False
        self.stopped: Stop | None = None
        self.pause_reason: str | None = None
        self.began: float | None = None
        """Monotonic seconds up to which the execution's row counts its time."""
        self.seen = 0.0
        """Monotonic seconds when its time was last counted beside its steps."""
        self._work: set[asyncio.Task[Any]] = set()
        self._asking: asyncio.Task[Any] | None = None

    def unseen(self, monotonic: float) -> float:
        """Seconds since its time was last counted."""
        return 0.0 if self.began is None else monotonic - max(self.began, self.seen)

    def active_time(self, monotonic: float, at: int) -> ActiveTime:
        """Its time so far, as the row has it once a step ends."""
        since = 0.0 if self.began is None else monotonic - self.began
        return ActiveTime(self.execution, self.execution.active_ms + round(since * 1000), at)

    def stop(self, reason: Stop) -> None:
        """Ask the segment to end; the first interrupting reason stays."""
        if self.stopped in _INTERRUPTING:
            return
        if self.stopped is not None and reason in _STRENGTH:
            reason = max(self.stopped, reason, key=lambda stop: _STRENGTH[stop])
        self.stopped = reason
        if reason in _INTERRUPTING or (reason is Stop.RELEASE and not self.begun):
            self.interrupt()
        elif reason is Stop.PAUSE_NOW and self._asking is not None:
            self._asking.cancel()

    @property
    def is_suspect(self) -> bool:
        """Whether its last segments ended without progress, as if it had killed their process."""
        return self.takes_over and self.execution.tries >= SUSPECT_TRIES

    async def enter(self, suspects: Suspects) -> None:
        """Wait for a place among the suspects. Raises Interrupted."""
        await self.run(suspects.enter())
        self.suspects = suspects

    def progressed(self, *, harmless: bool = True) -> None:
        """Give the place among the suspects back."""
        if self.suspects is not None:
            self.suspects.leave(harmless=harmless)
            self.suspects = None

    def pause(self, request: PauseRequest) -> None:
        """Ask the segment to end paused."""
        self.pause_reason = request.reason
        self.stop(Stop.PAUSE_NOW if request.now else Stop.PAUSE)

    @property
    def pausing(self) -> bool:
        """Whether it was asked to end paused."""
        return self.stopped in (Stop.PAUSE, Stop.PAUSE_NOW)

    def interrupt(self) -> None:
        """Stop the model call or the tools that run now."""
        for task in self._work:
            task.cancel()

    @property
    def interrupted(self) -> bool:
        """Whether it was asked to end at once."""
        return self.stopped in _INTERRUPTING

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Ask a model, or wait to: interruptible, also by a pause. Raises Interrupted."""
        if self.interrupted or self.stopped is Stop.PAUSE_NOW:
            work.close()
            raise Interrupted
        self._asking = task = self.spawn(work)
        try:
            await asyncio.wait({task})
        finally:
            self._asking = None
            if not task.done():
                await ended({task})
        if task.cancelled():
            raise Interrupted
        return task.result()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start interruptible work."""
        task = asyncio.get_running_loop().create_task(work, name=self.execution.id)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    @property
    def open_step(self) -> int:
        """The number of the next model step, once every call is answered."""
        return max(self.highest_step, self.execution.superseded_to) + 1

    def add(self, *steps: Step) -> None:
        """Take recorded steps into account."""
        self.steps.extend(steps)
        self.highest_step = max([self.highest_step, *(step.number for step in steps)])
        if all(isinstance(step, ToolStep) for step in steps):
            for step in steps:
                assert isinstance(step, ToolStep)
                self._open.pop(step.call.id, None)
        else:
            calls = unanswered(self.steps, self.execution.superseded_to)
            self._open = {call.id: (number, call) for number, call in calls}

    def unanswered(self) -> Calls:
        """Tool calls of the newest model step that have no result yet, with their step numbers."""
        return tuple(self._open.values())

    def unanswered_before(self, number: int) -> tuple[int, ...]:
        """The numbers below this one of calls that have no result yet."""
        return tuple(takewhile(lambda n: n < number, (n for n, _ in self._open.values())))

    def callable(self) -> Calls:
        """The unanswered calls that wait for nobody, with what they run with."""
        return tuple(
            (number, replace(call, parameters=self.approved.get(call.id, call.parameters)))
            for number, call in self.unanswered()
            if call.id not in self.waits or call.id in self.approved
        )

    def output(self) -> str | None:
        """The text of the newest model step that has any, the open step first."""
        texts = [part.text for part in self.text.parts() if isinstance(part, Text)]
        if texts:
            return "".join(texts)
        models = (s for s in reversed(self.steps) if isinstance(s, ModelStep))
        return next((s.message.text for s in models if s.message.text), None)


async def ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel what still runs and wait for its end: nothing runs behind the end of its segment."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
