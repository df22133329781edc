"""The context of a code agent's function, and the operations that it requests.

The function runs in a task of its own and waits there; the segment executes its operations, one at
a time. So errors of the store and a lost execution never reach the function, and it cannot suppress
them.

JSON objects passed to it have sorted keys, for each database has an order of its own: a prompt
built from one must be the same prompt when the function starts again.
"""

import asyncio
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, TypeAlias

import orjson

from outlast.agents.tools.agent_kind import callee_of
from outlast.engine.segment.segment import Segment
from outlast.model.agent import AgentSpec, ToolSpec
from outlast.model.json_depth import DEEPEST, is_too_deep
from outlast.model.message import (
    AssistantMessage,
    Message,
    Part,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from outlast.model.text import storable, storable_messages

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_SORTED: Final = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
_RECURSION: Final = "Recursion limit"
"""Part of orjson's message for a value that is too deep for it, or contains itself."""
_OF_RESULT: Final = tuple(one.name for one in fields(ToolMessage) if one.name != "images")
_TAKEN: Final = "retry"
"""Reserved: the AI SDK's stream has `data-retry` for retried steps."""
_CLOSED_SECONDS: Final = 0.02
"""How long a call takes that is too late: a loop of such calls must not keep the process busy."""


@dataclass(frozen=True, slots=True)
class AskModel:
    """Call a model; the result is its answer."""

    messages: tuple[Message, ...]
    instructions: str
    tools: tuple[ToolSpec, ...]
    model: str
    digest: str
    """Identifies the request: equal for equal requests."""


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call a tool; the result is the tool's."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Save:
    """Save a checkpoint."""

    state: dict[str, Any]
    label: str | None


@dataclass(frozen=True, slots=True)
class Emit:
    """Emit a data event."""

    name: str
    data: Any


@dataclass(frozen=True, slots=True)
class ReadImage:
    """Read an image; the result is its bytes."""

    id: str


Operation: TypeAlias = AskModel | CallTool | ReadImage | Save | Emit


@dataclass(frozen=True, slots=True)
class PendingOperation:
    """An operation, and the future for its result."""

    operation: Operation
    answer: "asyncio.Future[Any]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def give(self, answer: Any) -> None:
        """Set the result, unless the wait was cancelled."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def refuse(self, error: Exception) -> None:
        """Raise the error in the function."""
        if not self.answer.done():
            self.answer.set_exception(error)


class CodeContext:
    """Implements `agents.code.Context`, which documents it."""

    def __init__(self, segment: Segment, spec: AgentSpec, state: dict[str, Any]) -> None:
        self._segment = segment
        self._spec = spec
        self._closed = False
        self._state: dict[str, Any] = in_order(state)
        self.operations: asyncio.Queue[PendingOperation | None] = asyncio.Queue()
        """Operations requested by the function; None once it has ended."""

    @property
    def execution_id(self) -> str:
        return self._segment.execution.id

    @property
    def state(self) -> dict[str, Any]:
        return self._state

    @property
    def history(self) -> tuple[Message, ...]:
        return self._segment.history

    @property
    def session(self) -> dict[str, Any]:
        return self._segment.execution.session

    @property
    def user(self) -> str | None:
        return self._segment.execution.user

    @property
    def metadata(self) -> dict[str, Any]:
        return self._segment.execution.metadata

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        return self._spec.offered

    async def model(
        self,
        messages: str | Sequence[Message] | None = None,
        *,
        instructions: str | None = None,
        tools: Iterable[str | ToolSpec] = (),
        model: str | None = None,
    ) -> AssistantMessage:
        match messages:
            case None:
                conversation: tuple[Message, ...] = (
                    *self.history,
                    UserMessage(self._segment.execution.input),
                )
            case str():
                conversation = (UserMessage(messages),)
            case _:
                conversation = tuple(messages)
        conversation = storable_messages(conversation)
        offered = tuple(self._tool(given) for given in tools)
        prompt = storable(self._spec.instructions if instructions is None else instructions)
        name = model or self._spec.model
        digest = _digest(name, prompt, offered, conversation)
        answer: AssistantMessage = await self._ask(
            AskModel(conversation, prompt, offered, name, digest)
        )
        return replace(answer, parts=tuple(_part_in_order(part) for part in answer.parts))

    async def tool(self, name: str, /, **arguments: Any) -> Any:
        return in_order(await self._ask(CallTool(name, _json(arguments))))

    async def agent(self, name: str, text: str, /) -> str:
        tools = ((tool, callee_of(tool)) for tool in self._spec.tools)
        known = (tool.name for tool, callee in tools if callee is not None and callee.name == name)
        return str(await self.tool(next(known, name), input=text))

    async def image(self, image_id: str) -> bytes:
        if not isinstance(image_id, str):
            raise TypeError(f"{type(image_id).__name__} is not an image's id")
        found: bytes = await self._ask(ReadImage(storable(image_id)))
        return found

    async def checkpoint(self, state: dict[str, Any], label: str | None = None) -> None:
        written = _json(state)
        if not isinstance(written, dict) or not written:
            raise TypeError("a checkpoint's state is a JSON object that is not empty")
        await self._ask(Save(written, storable(label)))
        self._state = in_order(written)

    async def emit(self, name: str, data: Any = None) -> None:
        if not _NAME.fullmatch(name) or name == _TAKEN:
            raise ValueError(f"{name[:80]!r} cannot be emitted: 1 to 64 letters, digits, _ and -")
        await self._ask(Emit(name, _json(data)))

    def close(self) -> None:
        """Stop serving: further calls are cancelled."""
        self._closed = True

    def _tool(self, given: str | ToolSpec) -> ToolSpec:
        found = self._spec.tool(given) if isinstance(given, str) else given
        if found is None:
            raise ValueError(f"the agent has no tool {given!r}")
        return found

    async def _ask(self, operation: Operation) -> Any:
        if self._closed:
            await asyncio.sleep(_CLOSED_SECONDS)  # noqa: TID251 - see there
            raise asyncio.CancelledError
        pending = PendingOperation(operation)
        self.operations.put_nowait(pending)
        return await pending.answer


def _digest(
    model: str, instructions: str, tools: tuple[ToolSpec, ...], messages: tuple[Message, ...]
) -> str:
    """Return the digest of a request. Raises TypeError for messages that are not valid."""
    for message in messages:
        if not isinstance(message, Message):
            raise TypeError(f"{type(message).__name__} is not a message")
    conversation = [[type(message).__name__, _digested(message)] for message in messages]
    content = orjson.dumps(
        [model, instructions, [tool.name for tool in tools], conversation], option=_SORTED
    )
    return hashlib.sha256(content).hexdigest()


def _digested(message: Message) -> Any:
    """Return a message for the digest: without images as before there were any."""
    if not isinstance(message, ToolMessage) or message.images:
        return message
    written = (b'"%b":%b' % (name.encode(), _sorted(getattr(message, name))) for name in _OF_RESULT)
    return orjson.Fragment(b"{%b}" % b",".join(written))


def _sorted(value: Any) -> bytes:
    return orjson.dumps(value, option=_SORTED)


def in_order(value: Any) -> Any:
    """Return the value as read back from JSON, with sorted keys."""
    return orjson.loads(orjson.dumps(value, option=_SORTED))


def _part_in_order(part: Part) -> Part:
    if isinstance(part, ToolCall):
        return replace(part, parameters=in_order(part.parameters))
    return part


def _json(value: Any) -> Any:
    """Return the value as read back from the store.

    Raises TypeError if it is not JSON, or nested too deep.
    """
    found = storable(orjson.loads(as_json(value, "A value")))
    if is_too_deep(found):
        raise TypeError(f"A value is nested deeper than {DEEPEST} levels")
    return found


def as_json(value: Any, what: str) -> bytes:
    """Return the value as JSON, its text storable. Raises TypeError with the reason."""
    try:
        try:
            return orjson.dumps(value)
        except TypeError:  # a lone surrogate, perhaps
            return orjson.dumps(storable(value))
    except (TypeError, RecursionError) as error:
        problem: object = error
        if isinstance(error, RecursionError) or _RECURSION in str(error):
            problem = "it contains itself, or is nested too deep"
        raise TypeError(f"{what} cannot be written as JSON: {problem}") from error
