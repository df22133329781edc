"""View models of checkpoints: the list, what a roll-back takes back, the difference of two."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from outlast.model.agent import Effect, ToolSpec
from outlast.model.checkpoint import Checkpoint
from outlast.model.memory import WrittenMemory
from outlast.rooms.console.render.lines import Line, differing, json_lines
from outlast.rooms.console.render.steps import Step
from outlast.rooms.console.render.transcript import Transcript
from outlast.rooms.console.render.words import compact, first_line, pretty, shortened
from outlast.services.step_pages import StepSums

_MOST_CALLS: Final = 50
_MOST_STEPS: Final = 100
"""Steps of one side of a difference that are shown."""
_MOST_TEXT: Final = 2000


@dataclass(frozen=True, slots=True)
class Point:
    """A checkpoint in the list."""

    checkpoint: Checkpoint
    state: dict[str, Any]
    """Its own, or the one before it that stood then."""
    about: str
    """What its step was."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a roll-back to a checkpoint takes back."""

    steps: int
    calls: int
    tokens: int
    credits: int
    destructive: Sequence[Step]
    """Calls that cannot be taken back, and those whose effect is not known any more."""
    more: int
    """How many of them are not listed."""
    children: Sequence[Step]
    waiting: Sequence[str]
    """Names of calls that wait for a person."""
    unseen: int = 0
    """Calls behind those that were looked at one by one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two checkpoints beside each other."""

    same: int
    """Steps that both have."""
    steps: list[Line]
    state: list[Line]
    cut: bool
    """Whether there is more than is shown."""


def points(
    found: Iterable[Checkpoint], first_state: dict[str, Any], read: Transcript
) -> list[Point]:
    """Return the checkpoints, oldest first, each with its state."""
    standing = superseded = first_state
    made = []
    for one in found:
        state = superseded if one.superseded else standing
        state = state if one.state is None else one.state
        superseded = state
        if not one.superseded:
            standing = state
        made.append(Point(one, state, _about(read.steps.get(one.step))))
    return made


def _about(step: Step | None) -> str:
    if step is None:
        return ""
    if step.is_tool:
        return step.name
    return first_line(_said(step)) or "answer of the model"


def _said(step: Step) -> str:
    parts = sorted(step.parts, key=lambda part: part.number)
    return "\n".join(part.text for part in parts if part.kind == "text")


def preview(point: Checkpoint, read: Transcript, tools: Mapping[str, ToolSpec]) -> Preview:
    """Return what a roll-back to this checkpoint takes back."""
    taken = [one for one in read.ordered if not one.superseded and not point.covers(one.number)]
    calls = [one for one in taken if one.is_tool]
    lasting = [one for one in calls if one.has_run and not one.child and _lasts(one, tools)]
    asks = [one.open_ask for one in calls]
    return Preview(
        len(taken),
        len(calls),
        sum(_tokens(one) for one in taken),
        sum(_credits(one) for one in taken),
        lasting[:_MOST_CALLS],
        max(0, len(lasting) - _MOST_CALLS),
        [one for one in calls if one.child],
        [ask.request.name for ask in asks if ask is not None],
    )


def preview_of_many(
    point: Checkpoint,
    first: Transcript,
    newest: Transcript,
    sums: StepSums,
    tools: Mapping[str, ToolSpec],
) -> Preview:
    """Return the same from the sums of all steps behind the checkpoint's and two transcripts.

    `first` has the first steps from the checkpoint on, which are looked at one by one; `newest`
    those that are not recorded yet.
    """
    looked_at = preview(point, first, tools)
    taken = [one for one in first.ordered if not one.superseded and not point.covers(one.number)]
    late = [one for one in taken if one.number <= point.step and one.is_recorded]
    seen = [one for one in taken if one.number > point.step and one.is_recorded and one.is_tool]
    standing = (one for one in newest.ordered if not one.superseded)
    is_open = [one for one in standing if not one.is_recorded and not point.covers(one.number)]
    asks = [one.open_ask for one in is_open]
    return replace(
        looked_at,
        steps=sums.steps + len(late) + len(is_open),
        calls=sums.calls + sum(one.is_tool for one in (*late, *is_open)),
        tokens=sums.tokens + sum(_tokens(one) for one in late),
        credits=sums.credits + sum(_credits(one) for one in late),
        waiting=[ask.request.name for ask in asks if ask is not None],
        unseen=sums.calls - len(seen),
    )


def _tokens(step: Step) -> int:
    return 0 if step.model is None else step.model.usage.total_tokens


def _credits(step: Step) -> int:
    of_result = 0 if step.result is None else step.result.credits
    return of_result if step.model is None else step.model.charged


def memory_behind(point: Checkpoint, found: Iterable[Checkpoint]) -> list[WrittenMemory]:
    """Return what stands behind a checkpoint in memory stores, the newest version of each item."""
    written = [
        item
        for one in found
        if not one.superseded and one.place >= point.place
        for item in one.memory
    ]
    return list({item.item_id: item for item in written}.values())[:_MOST_CALLS]


def _lasts(step: Step, tools: Mapping[str, ToolSpec]) -> bool:
    """Whether the call has an effect that cannot be taken back, or one that is not known."""
    tool = tools.get(step.name)
    return tool is None or tool.effect is Effect.DESTRUCTIVE


def compared(first: Point, second: Point, read: Transcript) -> Comparison:
    """Return what stands at the second checkpoint and not at the first, and the other way."""
    before, after = (_standing(one.checkpoint, read) for one in (first, second))
    numbers = {one.number for one in before}, {one.number for one in after}
    gone = [one for one in before if one.number not in numbers[1]]
    new = [one for one in after if one.number not in numbers[0]]
    lines = [Line("del", text) for one in gone[:_MOST_STEPS] for text in _lines(one)]
    lines += [Line("ins", text) for one in new[:_MOST_STEPS] for text in _lines(one)]
    state, cut = differing(json_lines(first.state), json_lines(second.state))
    cut = cut or len(gone) > _MOST_STEPS or len(new) > _MOST_STEPS
    return Comparison(len(numbers[0] & numbers[1]), lines, state, cut)


def _standing(point: Checkpoint, read: Transcript) -> list[Step]:
    """Return the steps that the execution had at a checkpoint."""
    return [
        one
        for one in read.ordered
        if point.covers(one.number)
        and (one.superseded_after is None or point.step <= one.superseded_after)
    ]


def _lines(step: Step) -> list[str]:
    if not step.is_tool:
        return [f"{step.number} answer of the model", *_indented(_said(step))]
    result = [] if step.result is None else _indented(pretty(step.result.result))
    return [f"{step.number} {step.name} {compact(step.arguments, 400)}", *result]


def _indented(text: str) -> list[str]:
    return ["  " + line for line in shortened(text, _MOST_TEXT).splitlines()]
