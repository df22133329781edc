"""A running segment: the execution's row as last written, and the open step's text.

Only the segment's runner uses it; others may call `stop`.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import takewhile
from typing import Any, Final, TypeAlias, TypeVar

from outlast.agents.browser.held import HeldBrowser
from outlast.agents.call_images import CallImages
from outlast.agents.port import ModelRequest
from outlast.engine.segment.suspects import SUSPECT_TRIES, Suspects
from outlast.model.agent import Agent
from outlast.model.clock import Clock
from outlast.model.event import TextAdded, ThinkingAdded
from outlast.model.execution import Execution, ModelStep, PauseRequest, Status, Step, ToolStep
from outlast.model.image import Image, WholeImage
from outlast.model.input_request import InputRequest
from outlast.model.memory import MemoryWrite
from outlast.model.message import Message, Part, Text, Thinking, ToolCall
from outlast.model.steps import Calls, unanswered
from outlast.model.wait import Wait
from outlast.store.budgets.shares import Applying
from outlast.store.executions.values import ActiveTime

T = TypeVar("T")


class Stop(StrEnum):
    """Why a segment ends before its execution does."""

    CANCEL = "cancel"
    LIMIT = "limit"
    PAUSE = "pause"
    """At the next boundary: a pause was requested."""
    PAUSE_NOW = "pause_now"
    """At once during a model request, else at the next boundary: running tools are not cut off."""
    RELEASE = "release"
    """At the next boundary: the server is shutting down."""
    REFUSED = "refused"
    """At once: the database refuses the text of the open step."""
    LEAVE = "leave"
    """At once: the server cannot wait for the next boundary; the try does not count."""
    ABANDON = "abandon"
    """At once and without an event: the log was lost, or another worker has the execution."""


LEFT: Final = frozenset({Stop.LEAVE, Stop.ABANDON})
"""Reasons after which another segment continues the execution."""
_INTERRUPTING: Final = LEFT | {Stop.CANCEL, Stop.LIMIT, Stop.REFUSED}
_STRENGTH: Final = {Stop.RELEASE: 0, Stop.PAUSE: 1, Stop.PAUSE_NOW: 2}
"""Order of the reasons that do not interrupt; the stronger one wins."""


class Interrupted(Exception):
    """The work was stopped from outside."""


TextKind: TypeAlias = type[TextAdded] | type[ThinkingAdded]
TextRun: TypeAlias = tuple[int, TextKind, list[str]]
"""(at, kind, pieces) of one part of a message."""


class StepText:
    """Pieces streamed by the open step."""

    __slots__ = ("_fresh", "_kind", "_pieces", "appended", "calls", "calls_at", "pieces", "runs")

    def __init__(self) -> None:
        self.runs: list[TextRun] = []
        self._kind: TextKind | None = None
        self._pieces: list[str] = []
        """Kind and pieces of the last run."""
        self._fresh: list[tuple[int, int, int]] = []
        """(at, part, first piece) of what is not yet passed to the store, up to the part's end."""
        self.pieces = 0
        self.appended = 0
        """Number of pieces passed to the store."""
        self.calls = 0
        """Characters of the tool calls so far, which are not shown before the answer is whole."""
        self.calls_at = 0
        """Time of their first piece."""

    @property
    def began_at(self) -> int | None:
        """Time of the first piece of text or of a tool call; None if there is none."""
        times = [at for at, _, _ in self.runs[:1]]
        return min([*times, *([self.calls_at] if self.calls else [])], default=None)

    def add_call(self, at: int, characters: int) -> None:
        """Count a piece of a tool call."""
        if not self.calls:
            self.calls_at = at
        self.calls += characters

    def add(self, clock: Clock, kind: TextKind, piece: str) -> None:
        """Add a piece; a part ends when the kind changes, and has the time of its first piece."""
        if kind is not self._kind:
            self._kind, self._pieces = kind, []
            self.runs.append((clock.now(), kind, self._pieces))
            self._fresh.append((self.runs[-1][0], len(self.runs) - 1, 0))
        elif not self._fresh:
            self._fresh.append((clock.now(), len(self.runs) - 1, len(self._pieces)))
        self._pieces.append(piece)
        self.pieces += 1

    def whole(self, step: int) -> tuple[tuple[int, TextAdded | ThinkingAdded], ...]:
        """Return every part as one event."""
        return tuple(
            [
                (at, kind(step, part, tuple(pieces)))
                for part, (at, kind, pieces) in enumerate(self.runs)
            ]
        )

    def take(self, step: int) -> tuple[tuple[int, TextAdded | ThinkingAdded], ...]:
        """Return the pieces not yet passed to the store."""
        fresh, self._fresh = self._fresh, []
        self.appended = self.pieces
        texts = []
        for at, part, first in fresh:
            _, kind, pieces = self.runs[part]
            texts.append((at, kind(step, part, tuple(pieces[first:]))))
        return tuple(texts)

    def not_taken(self, texts: Iterable[tuple[int, TextAdded | ThinkingAdded]]) -> None:
        """Note that the store has none of these texts; the step's end writes them."""
        self.appended -= sum(len(text.pieces) for _, text in texts)

    def parts(self) -> tuple[Part, ...]:
        """Return the text so far as parts of a message."""
        return tuple(
            Text("".join(pieces)) if kind is TextAdded else Thinking("".join(pieces))
            for _, kind, pieces in self.runs
        )


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What is recorded beside a call's result."""

    writes: tuple[MemoryWrite, ...] = ()
    """To memory stores."""
    images: tuple[WholeImage, ...] = ()
    embedded: tuple[tuple[str, int], ...] = ()
    """Requests to embedding models: the model, and the tokens."""


NOTHING_BESIDE: Final = CallRecord()


class Segment:
    """An unbroken sequence of steps of one execution."""

    browser: HeldBrowser | None = None
    """Its browser; None until a call needs it."""
    waits_read = False
    """Whether its waits were just read. A decision made since resumes an execution that rests."""
    pause_reason: str | None = None
    image_bytes = 0
    """Bytes of the images of its steps."""
    blind: frozenset[str] = frozenset()
    """Models that have rejected a request with images."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.agent: Agent | None = None
        self.history: tuple[Message, ...] = ()
        """Messages of the conversation's earlier turns."""
        self.steps: list[Step] = []
        self.waits: dict[str, Wait] = {}
        """Waits of the newest answer's calls, by call."""
        self.approved: dict[str, dict[str, Any]] = {}
        """Approved calls that may run, with their arguments."""
        self.in_flight: dict[str, tuple[int, ToolCall]] = {}
        """Started calls without a result."""
        self.handles: dict[str, dict[str, Any]] = {}
        """By which results of calls are found that tools' servers work on by themselves, by
        call."""
        self.requesting: dict[str, InputRequest] = {}
        """Input that is requested during calls that run, by call."""
        self.records: dict[str, CallRecord] = {}
        """What is recorded beside the results of calls that have ended, by call."""
        self._open: dict[str, tuple[int, ToolCall]] = {}
        """Calls of the newest model step without a result, in order."""
        self.highest_step = 0
        """Highest number of the recorded steps."""
        self.text = StepText()
        self.request: ModelRequest | None = None
        """The open model request, to estimate its tokens."""
        self.model = ""
        """The agent's name of the model last used."""
        self.continues = execution.segment > 0
        """Whether an earlier segment may have recorded something."""
        self.takes_over = execution.status is Status.RUNNING
        """Whether the previous segment ended by a crash."""
        self.counted = True
        """Whether this segment counts as a try of the execution."""
        self.suspects: Suspects | None = None
        """The suspects among which it has a slot, until it has proved harmless."""
        self.entered = self.seen = 0.0
        """Monotonic time at which it got that slot; and at which its time was last written between
        steps."""
        self.begun = False
        self.stopped: Stop | None = None
        self.began: float | None = None
        """Monotonic time up to which the execution's row counts its time."""
        self.applying: tuple[Applying, ...] = ()
        """The budgets that it spends from, as of its last write."""
        self.timed: tuple[Applying, ...] = ()
        """Those of them that bound seconds."""
        self.budgets_until = float("inf")
        """Monotonic time at which the first of these is spent."""
        self.counted_to = 0
        """Time up to which budgets know of its work, in milliseconds since the epoch."""
        self._work: set[asyncio.Task[Any]] = set()
        self._asking: asyncio.Task[Any] | None = None

    def unseen(self, monotonic: float) -> float:
        """Return the seconds since its time was last written."""
        return 0.0 if self.began is None else monotonic - max(self.began, self.seen)

    def active_time(self, monotonic: float, at: int) -> ActiveTime:
        """Return its time so far, as written at the end of a step."""
        since = 0.0 if self.began is None else monotonic - self.began
        active_ms = self.execution.active_ms + round(since * 1000)
        browser = None if self.browser is None else self.browser.open_use(self.execution, at)
        return ActiveTime(self.execution, active_ms, at, self.timed, self.counted_to, browser)

    def time_counted(self, at: int, millis_left: int | None, monotonic: float) -> None:
        """Note that budgets know of its work up to this time, and what they leave."""
        self.counted_to = at
        if millis_left is not None:
            self.budgets_until = monotonic + millis_left / 1000

    def stop(self, reason: Stop) -> None:
        """Stop the segment; the first interrupting reason wins."""
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
        """Whether the last segments ended without progress, as if it had killed their process."""
        return self.takes_over and self.execution.tries >= SUSPECT_TRIES

    async def enter(self, suspects: Suspects) -> None:
        """Wait for a slot among the suspects. Raises Interrupted."""
        await self.run(suspects.enter())
        self.suspects = suspects

    def progressed(self, *, harmless: bool = True) -> None:
        """Return the slot among the suspects."""
        if self.suspects is not None:
            self.suspects.leave(harmless=harmless)
            self.suspects = None

    def pause(self, request: PauseRequest) -> None:
        """Request that the segment end paused."""
        self.pause_reason = request.reason
        self.stop(Stop.PAUSE_NOW if request.now else Stop.PAUSE)

    @property
    def pausing(self) -> bool:
        """Whether it is to end paused."""
        return self.stopped in (Stop.PAUSE, Stop.PAUSE_NOW)

    def interrupt(self) -> None:
        """Cancel the running model call or tools."""
        for task in self._work:
            task.cancel()

    @property
    def interrupted(self) -> bool:
        """Whether it is to end at once."""
        return self.stopped in _INTERRUPTING

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a model request, or the wait before it, interruptibly. Raises Interrupted."""
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
        """Start an interruptible task."""
        task = asyncio.get_running_loop().create_task(work, name=self.execution.id)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    @property
    def open_step(self) -> int:
        """Number of the next model step, once every call is answered."""
        return max(self.highest_step, self.execution.superseded_to) + 1

    @cached_property
    def call_images(self) -> dict[str, CallImages]:
        """The images of started calls without a result, by call."""
        return {}

    def images_of_call(self, call_id: str) -> CallImages:
        """Return where a call keeps its images; those of calls beside it count in its bound too."""

        def others() -> int:
            beside = [one.size for key, one in self.call_images.items() if key != call_id]
            return self.image_bytes + sum(beside)

        made = self.call_images[call_id] = CallImages(others)
        return made

    def add(self, *steps: Step) -> None:
        """Add recorded steps."""
        self.steps.extend(steps)
        self.image_bytes += sum([one.size for step in steps for one in images_of(step)])
        self.highest_step = max([self.highest_step, *[step.number for step in steps]])
        if all(isinstance(step, ToolStep) for step in steps):
            for step in steps:
                assert isinstance(step, ToolStep)
                self._open.pop(step.call.id, None)
        else:
            calls = unanswered(self.steps, self.execution.superseded_to)
            self._open = {call.id: (number, call) for number, call in calls}

    def steps_with(self, new: tuple[Step, ...]) -> tuple[Step, ...]:
        """Return its steps with new ones, in order."""
        return tuple(sorted((*self.steps, *new), key=lambda step: step.number))

    def know(self, waits: Iterable[Wait]) -> None:
        """Take the waits of its calls, as they were just read."""
        self.waits = {wait.tool_call_id: wait for wait in waits if not wait.superseded}
        self.waits_read = True

    def unanswered(self) -> Calls:
        """Return tool calls of the newest model step without a result, with their step numbers."""
        return tuple(self._open.values())

    def unanswered_before(self, number: int) -> tuple[int, ...]:
        """Return the numbers below this one of calls without a result."""
        return tuple(takewhile(lambda n: n < number, (n for n, _ in self._open.values())))

    def callable(self) -> Calls:
        """Return the unanswered calls that do not wait, with their arguments."""
        return tuple(
            (number, self._approved(call))
            for number, call in self.unanswered()
            if call.id not in self.waits or call.id in self.approved
        )

    def _approved(self, call: ToolCall) -> ToolCall:
        """Return the call with the arguments of its approval, if it has any."""
        arguments = self.approved.get(call.id)
        return call if arguments is None else replace(call, parameters=arguments)

    def output(self) -> str | None:
        """Return the text of the newest model step that has any, the open step first."""
        texts = [part.text for part in self.text.parts() if isinstance(part, Text)]
        if texts:
            return "".join(texts)
        models = (s for s in reversed(self.steps) if isinstance(s, ModelStep))
        return next((s.message.text for s in models if s.message.text), None)


def images_of(step: Step) -> tuple[Image, ...]:
    """Return the images that a step's tool has brought."""
    return step.images if isinstance(step, ToolStep) else ()


async def ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel the tasks that still run and wait for them: none outlives its segment."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
