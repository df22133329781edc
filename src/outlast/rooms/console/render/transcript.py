"""An execution's transcript: a fold over its log, from which pages and the stream are rendered.

It holds the steps in order, superseded ones too, and the execution's state as far as the log has
come, so a page and the stream that goes on from it agree whatever the row says meanwhile. It may
begin behind the earlier steps: `Earlier` says what stood there.
"""

from typing import Final

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
from outlast.model.execution import TERMINAL, Status
from outlast.model.wait import Awaiting
from outlast.rooms.console.render.earlier import NOTHING, Earlier
from outlast.rooms.console.render.steps import Ask, ClientAsk, Part, Step

_BY_THEMSELVES: Final = (Awaiting.CHILD, Awaiting.TIME)


class Transcript:
    """Reads every entry of one execution's log in order, from its start or behind earlier steps."""

    def __init__(self, earlier: Earlier = NOTHING) -> None:
        self.earlier = earlier
        self.steps: dict[int, Step] = {}
        self.cursor = earlier.cursor
        self.at = earlier.at
        """When the newest entry was written."""
        self.status = Status.RUNNING if earlier.step else Status.QUEUED
        self.since = earlier.since
        """When the status was entered."""
        self.awaiting: str | None = None
        self.reason: str | None = None
        """Of a pause."""
        self.failure: ExecutionFailed | None = None
        self.output: str | None = None
        self.created_at = earlier.began
        self.started_at: int | None = earlier.began or None
        self.tokens = earlier.tokens
        self.credits = earlier.credits
        self.changed: set[int] = set()
        """Steps that must be rendered anew; the reader empties it."""
        self.grown: dict[tuple[int, int], list[str]] = {}
        """New text of parts that were there before; the reader empties it."""
        self.moved = False
        """Whether the state has changed; the reader resets it."""

    @property
    def ended(self) -> bool:
        """Whether the log has ended."""
        return self.status in TERMINAL

    @property
    def ordered(self) -> list[Step]:
        """The steps in their order."""
        return [step for _, step in sorted(self.steps.items())]

    @property
    def count(self) -> int:
        """How many steps stand, earlier ones too."""
        return self.earlier.steps + sum(not step.superseded for step in self.steps.values())

    def settle(self, steps: int, tokens: int, charged: int) -> None:
        """Take what the row says of all steps, as of the newest entry, for the earlier ones."""
        recorded = (one for one in self.steps.values() if one.is_recorded and not one.superseded)
        self.earlier = self.earlier._replace(
            steps=max(0, steps - sum(1 for _ in recorded)),
            tokens=max(0, tokens - self.tokens),
            credits=max(0, charged - self.credits),
        )
        self.tokens, self.credits = tokens, charged

    def voids_earlier(self, event: Event) -> bool:
        """Whether an event supersedes steps that stand before this transcript."""
        step = self.earlier.step
        if not (isinstance(event, ExecutionResumed) and step):
            return False
        return event.step < step or min(event.missing, default=step + 1) <= step

    @property
    def open_asks(self) -> list[Ask]:
        """What waits for a person now."""
        asks = (ask for step in self.ordered if not step.superseded for ask in step.asks)
        return [ask for ask in asks if ask.answer is None]

    @property
    def open_calls(self) -> list[ClientAsk]:
        """The calls that wait for their client or for input now."""
        calls = (call for step in self.ordered if not step.superseded for call in step.calls)
        return [call for call in calls if call.answer is None]

    @property
    def running(self) -> list[str]:
        """Names of the calls that run now."""
        steps = (step for step in self.ordered if step.is_tool and not step.superseded)
        return [step.name for step in steps if step.state == "running"]

    def add(self, entry: Entry) -> None:
        """Read the next entry."""
        self.cursor = entry.cursor
        event = entry.event
        match event:
            case TextAdded() | ThinkingAdded():
                self._add_text(entry.at, event)
            case ToolDeferred():
                pass  # it goes on running
            case (
                ModelFinished()
                | ToolStarted()
                | ToolFinished()
                | DataEmitted()
                | ChildStarted()
                | ChildFinished()
                | ApprovalRequested()
                | StepRetried()
            ):
                self._add_to_step(entry.at, event)
            case ApprovalResolved():
                self._answer(entry.at, event)
            case (
                ExecutionCreated()
                | ExecutionStarted()
                | ExecutionSuspended()
                | ExecutionPaused()
                | ExecutionResumed()
                | ExecutionReleased()
                | ExecutionCompleted()
                | ExecutionFailed()
                | ExecutionCancelled()
            ):
                self._move(entry.at, event)
            case ClientCallRequested() | ClientCallAnswered():
                self._add_client_call(entry.at, event)
        self.at = entry.at

    def _step(self, number: int, at: int, event: Event) -> Step:
        found = self.steps.get(number)
        if found is None:
            found = self.steps[number] = Step(number, at, self.at)
            self.changed.add(number)
            self.moved = True
        elif found.superseded and not (found.is_recorded or _is_late(event)):
            found.stand_again()
            self.changed.add(number)
        return found

    def _add_text(self, at: int, event: TextAdded | ThinkingAdded) -> None:
        if event.step <= self.earlier.step:
            return
        step = self._step(event.step, at, event)
        kind = "text" if isinstance(event, TextAdded) else "thinking"
        part = next((part for part in step.parts if part.number == event.part), None)
        if part is None:
            part = Part(kind, event.part)
            step.parts.append(part)
            self.changed.add(step.number)
        elif step.number not in self.changed:
            self.grown.setdefault((step.number, part.number), []).extend(event.pieces)
        part.pieces.extend(event.pieces)

    def _add_to_step(self, at: int, event: Event) -> None:
        number: int = event.step  # type: ignore[union-attr]
        if number <= self.earlier.step:
            return  # the late end of what a superseded step has called
        step = self._step(number, at, event)
        self.changed.add(number)
        match event:
            case ModelFinished():
                step.model, step.ended_at = event, at
                self.tokens += event.usage.total_tokens
                self.credits += event.charged
                self.moved = True
            case ToolStarted():
                step.call, step.arguments = event, event.parameters
                self.moved = True
            case ToolFinished():
                if event.execution_id is None:
                    step.result, step.ended_at = event, at
                    self.credits += event.credits
                self.moved = True
            case DataEmitted():
                step.data.append(event)
            case ChildStarted():
                step.child, step.call = event, step.call or event
                self.moved = True
            case ChildFinished():
                step.child_end = event
            case ApprovalRequested():
                step.asks.append(Ask(event, at))
                if event.execution_id is None:
                    step.call = step.call or event
                    step.arguments = step.arguments or event.parameters
                self.moved = True
            case StepRetried():
                step.retries.append(event.reason)
                step.parts.clear()
            case _:
                pass

    def _add_client_call(self, at: int, event: ClientCallRequested | ClientCallAnswered) -> None:
        if event.step <= self.earlier.step:
            return
        step = self._step(event.step, at, event)
        self.changed.add(event.step)
        self.moved = True
        if isinstance(event, ClientCallRequested):
            step.calls.append(ClientAsk(event, at))
            return
        for call in step.calls:
            if call.answer is None and call.request.tool_call_id == event.tool_call_id:
                call.answer = event
        self._leave_suspension(at)

    def _leave_suspension(self, at: int) -> None:
        """Count as queued once nothing of this is open."""
        if self.status is Status.SUSPENDED and not (self.open_asks or self.open_calls):
            self._enter(Status.QUEUED, at)

    def _answer(self, at: int, event: ApprovalResolved) -> None:
        for step in self.steps.values():
            for ask in step.asks:
                if ask.answer is None and ask.request.tool_call_id == event.tool_call_id:
                    ask.answer, ask.answered_at = event, at
                    if event.parameters is not None and event.execution_id is None:
                        step.arguments = event.parameters
                    self.changed.add(step.number)
        self.moved = True
        self._leave_suspension(at)

    def _enter(self, status: Status, at: int) -> None:
        if status is not self.status:
            self.status, self.since = status, at
            self._cut_off(ended=status in TERMINAL)
        self.moved = True

    def _cut_off(self, *, ended: bool) -> None:
        """Mark what an end has cut off; one that is resumed may go on with it."""
        for step in self.steps.values():
            if step.cut_off != ended and not (step.is_recorded or step.superseded):
                step.cut_off = ended
                self.changed.add(step.number)

    def _move(self, at: int, event: Event) -> None:
        match event:
            case ExecutionCreated():
                self.created_at = self.since = at
            case ExecutionStarted():
                self.started_at = self.started_at or at
                self._drop_open_text()
                self._enter(Status.RUNNING, at)
            case ExecutionSuspended():
                self.awaiting = event.awaiting
                alone = event.awaiting in _BY_THEMSELVES
                self._enter(Status.RUNNING if alone else Status.SUSPENDED, at)
            case ExecutionPaused():
                self.reason = event.reason
                self.tokens += event.input_tokens + event.output_tokens
                self.credits += event.charged if event.input_tokens or event.output_tokens else 0
                self._drop_open_text()
                self._enter(Status.PAUSED, at)
            case ExecutionResumed():
                self._supersede(event)
                self.failure = self.reason = self.output = None
                waits = self.open_asks or self.open_calls
                self._enter(Status.SUSPENDED if waits else Status.QUEUED, at)
            case ExecutionReleased():
                self._enter(Status.QUEUED, at)
            case ExecutionCompleted():
                self.output = event.output
                self._enter(Status.COMPLETED, at)
            case ExecutionFailed():
                self.failure = event
                self._enter(Status.FAILED, at)
            case ExecutionCancelled():
                self._enter(Status.CANCELLED, at)
            case _:
                pass

    def _drop_open_text(self) -> None:
        """Drop the text of a step that runs again."""
        for step in self.steps.values():
            if step.parts and step.model is None and not step.superseded:
                step.parts.clear()
                self.changed.add(step.number)

    def _supersede(self, event: ExecutionResumed) -> None:
        newest = max(self.steps, default=0)
        for step in self.steps.values():
            if event.voids(step.number) and not step.superseded:
                step.superseded_after = newest
                self.changed.add(step.number)


def _is_late(event: Event) -> bool:
    """Whether it tells of what a step has called, which may end after the step is superseded."""
    match event:
        case ChildFinished():
            return True
        case ToolFinished() | ApprovalRequested():
            return event.execution_id is not None
        case _:
            return False
