"""A request's messages: the input of a run, or a person's decisions on tool calls.

Two shapes are read, message by message: `content` (text or parts) of OpenAI's clients, whose last
messages may be results of their tools, and `parts` of the AI SDK's. Earlier turns are not read: the
stored conversation is the history.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from outlast.model.error import InvalidField, InvalidId, MissingField
from outlast.model.ids import EXECUTION, parse
from outlast.model.wait import CallResult
from outlast.rooms.runs.schemas import LONGEST_ID, Message, Part

INSTRUCTION: Final = "Carry out your instructions."
"""Input of a run with instructions only."""
_SYSTEM: Final = frozenset({"system", "developer"})
_TEXT: Final = frozenset({"text", "input_text"})
_MEDIA: Final = frozenset(
    {"file", "image", "image_url", "input_image", "input_file", "input_audio"}
)
_RESPONDED: Final = "approval-responded"
_OUTPUT: Final = "output-available"
_ERROR: Final = "output-error"
_TOOL: Final = "tool"
_STEP: Final = "step-start"


@dataclass(frozen=True, slots=True)
class Answered:
    """A person's decision on a tool call, as the AI SDK writes it into the call's part."""

    tool_call_id: str
    approved: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a call: a message of the role `tool`, or the AI SDK's part of the call."""

    tool_call_id: str
    given: CallResult


@dataclass(frozen=True, slots=True)
class RunInput:
    """What the messages of a request mean."""

    input: str
    instructions: str
    """For this run, appended to the agent's own."""
    answered: tuple[Answered, ...]
    """Not empty: no new run is started; these decisions continue one."""
    message_id: str | None
    """Id of the message with the decisions."""
    in_parts: bool
    """Whether the messages came as `parts`."""
    sent_id: str | None = None
    """The client's id of the message that is the input; None if absent or too long."""
    answer_before: str | None = None
    """Id of the newest answer before it that the client still shows."""
    results: tuple[Result, ...] = ()
    """Of calls that this server or its client has run; not empty: no new run is started either."""


def read(messages: Sequence[Message], message_id: str | None) -> RunInput:
    """Read the messages; message_id names the one that the AI SDK's client continues.

    Raises MissingField if there is no input, InvalidField for media and bad decisions.
    """
    if messages[-1].role == _TOOL:
        return _tool_messages(messages)
    place = _continued(messages, message_id)
    answered, results = _answered(place, messages[place]), _results(messages[place])
    in_parts = any(message.parts is not None for message in messages)
    if answered or results:
        return RunInput("", "", answered, messages[place].id, in_parts, results=results)
    first = messages[0]
    instructions = _text(0, first) if first.role in _SYSTEM else ""
    newest = _last(messages, "user", len(messages))
    return RunInput(
        _input(messages, newest, instructions),
        instructions,
        (),
        None,
        in_parts,
        _id(messages, newest),
        None if newest is None else _id(messages, _last(messages, "assistant", newest)),
    )


def _tool_messages(messages: Sequence[Message]) -> RunInput:
    """Return the results in the last messages, which have the role `tool`.

    Raises MissingField for one that does not name its call.
    """
    called = next((n for n in reversed(range(len(messages))) if messages[n].role != _TOOL), -1)
    found = []
    for place in range(called + 1, len(messages)):
        call_id = messages[place].tool_call_id
        if call_id is None:
            param = f"messages.{place}.tool_call_id"
            raise MissingField("A message of the role tool names its call.", param=param)
        found.append(Result(call_id, CallResult(_text(place, messages[place]))))
    message_id = messages[called].id if called >= 0 else None
    return RunInput("", "", (), message_id, in_parts=False, results=tuple(found))


def _last(messages: Sequence[Message], role: str, end: int) -> int | None:
    """Return the index of the last message of this role before `end`."""
    return next((n for n in range(end - 1, -1, -1) if messages[n].role == role), None)


def _id(messages: Sequence[Message], place: int | None) -> str | None:
    """Return the client's id of the message at this index, unless it is too long to store."""
    found = None if place is None else messages[place].id
    return found if found is not None and 0 < len(found) <= LONGEST_ID else None


def _input(messages: Sequence[Message], place: int | None, instructions: str) -> str:
    if place is not None:
        text = _text(place, messages[place])
        if text:
            return text
        raise MissingField("The last user message has no text.", param=f"messages.{place}")
    if instructions:
        return INSTRUCTION
    raise MissingField("There is no user message.", param="messages")


def _text(place: int, message: Message) -> str:
    parts = message.parts if message.parts is not None else message.content
    if isinstance(parts, str):
        return parts
    return "".join(_texts(place, parts or ()))


def _texts(place: int, parts: Iterable[Part]) -> Iterable[str]:
    for part in parts:
        if part.type in _MEDIA:
            raise InvalidField(
                f"Only text is taken, not a part of type {part.type}.", param=f"messages.{place}"
            )
        if part.type in _TEXT and part.text:
            yield part.text


def _continued(messages: Sequence[Message], message_id: str | None) -> int:
    """Return the index of the last message, or of the one that the client continues."""
    last = len(messages) - 1
    named = next(
        (place for place, m in enumerate(messages) if m.id is not None and m.id == message_id), last
    )
    return last if messages[last].role == "assistant" else named


def _answered(place: int, message: Message) -> tuple[Answered, ...]:
    """Return the decisions in an assistant's message."""
    if message.role != "assistant":
        return ()
    found = [_decision(place, part) for part in message.parts or () if part.state == _RESPONDED]
    return tuple(found)


def _results(message: Message) -> tuple[Result, ...]:
    """Return the results of calls in the newest step of an assistant's message from a run."""
    if message.role != "assistant" or not message.parts or not _is_run(message.id):
        return ()
    starts = [place for place, part in enumerate(message.parts) if part.type == _STEP]
    newest = message.parts[starts[-1] :] if starts else message.parts
    return tuple(
        Result(part.tool_call_id, _given(part))
        for part in newest
        if part.tool_call_id is not None and part.state in (_OUTPUT, _ERROR)
    )


def _is_run(message_id: str | None) -> bool:
    """Whether a message has the id of a run, as the messages of runs have."""
    try:
        return message_id is not None and bool(parse(EXECUTION, message_id))
    except InvalidId:
        return False


def _given(part: Part) -> CallResult:
    if part.state == _ERROR:
        return CallResult(part.error_text or "The tool failed.", is_error=True)
    return CallResult(part.output)


def _decision(place: int, part: Part) -> Answered:
    approval: dict[str, Any] = part.approval or {}
    approved, reason = approval.get("approved"), approval.get("reason")
    if part.tool_call_id is None or not isinstance(approved, bool):
        raise InvalidField(
            "A decision needs toolCallId and approval.approved.", param=f"messages.{place}.parts"
        )
    return Answered(part.tool_call_id, approved, reason if isinstance(reason, str) else None)
