"""The serializer of events: their fields as JSON, as the log stores them."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Final, TypeAlias

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
    data = _DATA.get(type(event))
    return orjson.dumps(event if data is None else data(event))


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


def _text(event: TextAdded | ThinkingAdded) -> dict[str, Any]:
    data = {"step": event.step, "part": event.part, "text": "".join(event.pieces)}
    if len(event.pieces) > 1:
        data["lengths"] = [len(piece) for piece in event.pieces]
    return data


def _end(event: Ended) -> dict[str, Any]:
    """Return the fields of an end; without what is not there, as the first code reads it."""
    names = _NAMES[type(event)]
    return {name: value for name in names if (value := getattr(event, name)) is not None}


def _created(event: ExecutionCreated) -> dict[str, Any]:
    return {name: getattr(event, name) for name in _KEPT_OF_CREATED}


def _finished(event: ToolFinished) -> dict[str, Any]:
    return {
        name: value for name in _FINISHED if (value := getattr(event, name)) or name not in _LATER
    }


def _suspended(event: ExecutionSuspended) -> Any:
    """Return its fields; none if it waits for a person.

    So has every log had it since before there was anything else to wait for.
    """
    return {} if event.awaiting == Awaiting.PERSON else event


_OfCall: TypeAlias = ApprovalRequested | ApprovalResolved | ClientCallRequested | ClientCallAnswered


def _of_call(event: _OfCall) -> Any:
    """Return its fields; without the execution's id where it is its own, as before there was it."""
    if event.execution_id is not None:
        return event
    return {name: getattr(event, name) for name in _NAMES[type(event)]}


def _client_call(event: ClientCallRequested) -> Any:
    """Return its fields as those of another call; without `input` where there is none, likewise."""
    data = _of_call(event)
    if event.execution_id is None and event.input is None:
        del data["input"]
    return data


_DATA: Final[dict[type[Event], Callable[[Any], Any]]] = {
    TextAdded: _text,
    ThinkingAdded: _text,
    **dict.fromkeys(TERMINAL_EVENTS, _end),
    ExecutionCreated: _created,
    ToolFinished: _finished,
    ExecutionSuspended: _suspended,
    **dict.fromkeys((ApprovalRequested, ApprovalResolved, ClientCallAnswered), _of_call),
    ClientCallRequested: _client_call,
}
"""What is stored of an event; of others, all their fields."""


def _cut(text: str, lengths: list[int] | None) -> Iterator[str]:
    if lengths is None:
        yield text
        return
    start = 0
    for length in lengths:
        yield text[start : start + length]
        start += length
