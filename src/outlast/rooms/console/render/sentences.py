"""Where an execution is, in one sentence."""

from outlast.model.execution import Status
from outlast.model.wait import Awaiting
from outlast.rooms.console.render.transcript import Transcript
from outlast.rooms.console.render.words import duration

_MANY = 3


def sentence(  # noqa: PLR0911 - one per status
    found: Transcript, *, waits_for_turn: bool = False, client_driven: bool = False
) -> str:
    """Return what the execution does, or how it ended."""
    match found.status:
        case Status.QUEUED:
            if waits_for_turn:
                return "Waits until an earlier turn of its conversation has ended."
            return "Waits for a free place to run."
        case Status.RUNNING:
            return "Its client works on it." if client_driven else _running(found)
        case Status.SUSPENDED:
            return _suspended(found)
        case Status.PAUSED:
            return f"Paused: {found.reason}" if found.reason else "Paused on request."
        case Status.COMPLETED:
            return f"Completed {_took(found)}."
        case Status.FAILED:
            return f"Failed: {found.failure.message}" if found.failure else "Failed."
        case Status.CANCELLED:
            return f"Cancelled {_took(found)}."


def _running(found: Transcript) -> str:
    names = found.running
    if found.open_calls and not names:
        return _clients(found)
    if found.awaiting == Awaiting.TIME and not names:
        return "Waits for a point in time."
    if names:
        return f"Runs {_list(names)}."
    last = found.ordered[-1] if found.steps else None
    if last is not None and not last.is_tool and last.model is None and last.parts:
        return f"The model answers, in step {last.number}."
    return "Waits for the model."


def _suspended(found: Transcript) -> str:
    names = [ask.request.name for ask in found.open_asks]
    if names:
        return f"Waits for a person: {_list(names)}"
    return _clients(found) if found.open_calls else "Waits for its client."


def _clients(found: Transcript) -> str:
    """Return what waits for a person's input, or else for a client."""
    inputs = [call.request.name for call in found.open_calls if call.is_input]
    if inputs:
        return f"Waits for input: {_list(inputs)}"
    return f"Waits for its client to run {_list([c.request.name for c in found.open_calls])}."


def _took(found: Transcript) -> str:
    began = found.created_at if found.started_at is None else found.started_at
    return f"after {duration(max(0, found.since - began))}"


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:_MANY])
    return shown if len(names) <= _MANY else f"{shown} and {len(names) - _MANY} more"
