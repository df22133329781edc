"""View models of the timeline: the steps in columns for the canvas, and as rows of its table."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from typing_extensions import TypedDict

from outlast.rooms.console.render.steps import Step
from outlast.rooms.console.render.transcript import Transcript
from outlast.rooms.console.render.words import first_line


class Kind(IntEnum):
    """What a bar's colour says."""

    MODEL = 0
    TOOL = 1
    WRONG = 2
    VOID = 3


class Columns(TypedDict):
    """Steps in columns: milliseconds since the first, and places in `names` and `states`."""

    start: list[int]
    took: list[int]
    kind: list[int]
    number: list[int]
    name: list[int]
    names: list[str]
    states: list[str]
    state: list[int]
    end: int
    """When the last of them ended."""
    later: int | None
    """The step with which the next columns begin; None: there are none."""


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One step in the table."""

    number: int
    name: str
    state: str
    start: int
    """Milliseconds since the first step began."""
    took: int
    tokens: int
    credits: int
    superseded: bool


def rows(read: Transcript, steps: Sequence[Step], now: int) -> list[TimelineRow]:
    """Return steps as rows of the table."""
    origin = _origin(read)
    return [
        TimelineRow(
            one.number,
            _name(one),
            _state(one),
            one.began - origin,
            _took(one, read, now),
            0 if one.model is None else one.model.usage.total_tokens,
            _credits(one),
            one.superseded,
        )
        for one in steps
    ]


def columns(read: Transcript, now: int, first: int = 1, later: int | None = None) -> Columns:
    """Return the steps from the first on in columns."""
    origin, steps = _origin(read), [one for one in read.ordered if one.number >= first]
    names: dict[str, int] = {}
    states: dict[str, int] = {}
    took = [_took(one, read, now) for one in steps]
    start = [one.began - origin for one in steps]
    name = [names.setdefault(_name(one), len(names)) for one in steps]
    state = [states.setdefault(_state(one), len(states)) for one in steps]
    return {
        "start": start,
        "took": took,
        "kind": [_kind(one) for one in steps],
        "number": [one.number for one in steps],
        "name": name,
        "names": list(names),
        "states": list(states),
        "state": state,
        "end": max((at + length for at, length in zip(start, took, strict=True)), default=0),
        "later": later,
    }


def _origin(read: Transcript) -> int:
    if read.started_at is not None:
        return read.started_at
    return min((one.began for one in read.steps.values()), default=0)


def _name(step: Step) -> str:
    return first_line(step.name, 60) if step.is_tool else "model"


def _state(step: Step) -> str:
    if step.superseded:
        return "superseded"
    if step.is_tool:
        return step.state
    if step.model is not None:
        return "done"
    return "cut off" if step.cut_off else "running"


def _kind(step: Step) -> Kind:
    if step.superseded:
        return Kind.VOID
    if step.is_tool:
        return Kind.WRONG if step.state in ("failed", "denied") else Kind.TOOL
    return Kind.MODEL


def _took(step: Step, read: Transcript, now: int) -> int:
    """Return how long a step took, or has taken; one that never ended, nothing."""
    if step.ended_at is not None:
        return max(0, step.ended_at - step.began)
    is_open = not read.ended and not step.superseded
    return max(0, now - step.began) if is_open else 0


def _credits(step: Step) -> int:
    if step.model is not None:
        return step.model.charged
    return 0 if step.result is None else step.result.credits
