"""The serializer of events: their fields as JSON, as the log stores them."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

import orjson

from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.event import (
    KINDS,
    TERMINAL_EVENTS,
    TEXT_KINDS,
    ApprovalRequested,
    ApprovalResolved,
    Ended,
    Event,
    ExecutionCreated,
    ExecutionSuspended,
    TextAdded,
    ThinkingAdded,
    ToolFinished,
)
from outlast.model.image import images_from
from outlast.model.wait import Awaiting

_OF_CALLS: Final = (
    ApprovalRequested,
    ApprovalResolved,
    ClientCallRequested,
    ClientCallAnswered,
)
_KEPT_OF_CREATED: Final = tuple(known.name for known in fields(ExecutionCreated) if known.compare)
_NAMES: Final = {
    kind: tuple(one.name for one in fields(kind) if one.name != "execution_id")
    for kind in (*TERMINAL_EVENTS, *_OF_CALLS)
}
_FINISHED: Final = tuple(one.name for one in fields(ToolFinished))
_LATER: Final = ("execution_id", "images")
"""Fields of `ToolFinished` that are left out where they are empty, as before there were any."""


def encode(event: Event) -> bytes:
    """Return an event's fields as JSON; its kind is stored separately."""
    if isinstance(event, TextAdded | ThinkingAdded):
        data: dict[str, Any] = {
            "step": event.step,
            "part": event.part,
            "text": "".join(event.pieces),
        }
        if len(event.pieces) > 1:
            data["lengths"] = [len(piece) for piece in event.pieces]
        return orjson.dumps(data)
    if isinstance(event, TERMINAL_EVENTS):
        return orjson.dumps(_end(event))
    if isinstance(event, ExecutionCreated | ToolFinished):
        kept = _KEPT_OF_CREATED if isinstance(event, ExecutionCreated) else _kept(event)
        return orjson.dumps({name: getattr(event, name) for name in kept})
    if isinstance(event, ExecutionSuspended) and event.awaiting == Awaiting.PERSON:
        return b"{}"  # as every log has it since before there was anything else to wait for
    if isinstance(event, _OF_CALLS) and event.execution_id is None:
        names = _NAMES[type(event)]  # without the execution's id, as before there was it
        if isinstance(event, ClientCallRequested) and event.input is None:
            names = tuple(name for name in names if name != "input")  # the same
        return orjson.dumps({name: getattr(event, name) for name in names})
    return orjson.dumps(event)


def decode(kind: str, data: bytes | str) -> Event:
    """Return the event that `encode` wrote; fields of newer versions are ignored.

    Raises KeyError for an unknown kind.
    """
    fields = orjson.loads(data)
    if kind in TEXT_KINDS:
        pieces = tuple(_cut(fields.pop("text"), fields.pop("lengths", None)))
        text = TextAdded if kind == TextAdded.kind else ThinkingAdded
        return text(**fields, pieces=pieces)
    event = KINDS[kind]
    if "images" in fields:
        fields["images"] = images_from(fields["images"])
    try:
        return event(**fields)
    except TypeError:
        known = event.__dataclass_fields__
        return event(**{name: value for name, value in fields.items() if name in known})


def _end(event: Ended) -> dict[str, Any]:
    """Return the fields of an end; without what is not there, as the first code reads it."""
    names = _NAMES[type(event)]
    return {name: value for name in names if (value := getattr(event, name)) is not None}


def _kept(event: ToolFinished) -> tuple[str, ...]:
    return tuple(name for name in _FINISHED if name not in _LATER or getattr(event, name))


def _cut(text: str, lengths: list[int] | None) -> Iterator[str]:
    if lengths is None:
        yield text
        return
    start = 0
    for length in lengths:
        yield text[start : start + length]
        start += length
