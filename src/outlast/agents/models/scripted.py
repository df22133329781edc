r"""A model that reads its answers from a file: `scripted:FILE`, for tests and demos.

The answer depends on the history alone: the same history gives the same answer, in any process, so
a step that runs again after a crash gives the same answer. The file is YAML:

    turns:
      - when: 'order (?P<order>\w+)'     # a regular expression, searched in the last user message
        steps:                           # the nth answer since that message is the nth step
          - thinking: I must look it up.
            tool_calls:
              - name: lookup_order
                parameters: {orderId: "{order}"}
          - text: "Your order is {result.status}."
            delay_ms: 20                 # before each word; default 0
      - steps:                           # without `when`: any message
          - text: "You said: {input}"
      - when: trouble
        steps:
          - text: "This much comes, then"
            fail: {code: model_unavailable, message: The provider is down.}

The first turn that matches is used. A step has `text`, `thinking`, `tool_calls`, `delay_ms`,
`fail`, each optional; text and thinking are streamed word by word, thinking first. Known in text,
thinking and parameters: `{input}` the last user message, `{result}` the last tool's answer (JSON
unless it is text), `{result.a.b}` a field of it, `{name}` a named group of `when`; other braces
stand for themselves. The codes of `fail`: model_unavailable, rate_limit_exceeded, model_rejected,
context_length_exceeded. Tokens are counted by the rule of thumb of `model.usage`, as if exact.

Nested repeats (`*`, `+`) are refused in `when`, for they may take exponential time, and so are more
than five. With one repeat the first 10,000 characters of a message are searched, with two 500, with
three 150, with four 80, with five 50.
"""

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from outlast.agents.estimate import answer_tokens
from outlast.agents.models.assemble import finish_reason
from outlast.agents.models.chat_request import content_text
from outlast.agents.models.expressions import Expression
from outlast.agents.port import Answer, ModelEvent, ModelRequest, TextPiece, ThinkingPiece
from outlast.model import ids
from outlast.model.clock import Clock
from outlast.model.error import (
    ContextTooLong,
    Misconfigured,
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
    Upstream,
)
from outlast.model.explain import explain
from outlast.model.message import (
    AssistantMessage,
    Message,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from outlast.model.usage import Usage, estimate_tokens

NAME = "scripted"
_FAILURES: dict[str, type[Upstream]] = {
    error.code: error
    for error in (ModelUnavailable, ModelRateLimited, ModelRejected, ContextTooLong)
}
_WORD = re.compile(r"\s*\S+(?:\s+$)?|\s+$")
_FIELD = re.compile(r"\{(\w+(?:\.\w+)*)\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class _Call(_Strict):
    name: str
    parameters: dict[str, Any] = {}


class _Fail(_Strict):
    code: Literal[
        "model_unavailable", "rate_limit_exceeded", "model_rejected", "context_length_exceeded"
    ] = "model_unavailable"
    message: str = "The script says so."


class _Step(_Strict):
    text: str = ""
    thinking: str = ""
    tool_calls: tuple[_Call, ...] = ()
    delay_ms: float = Field(0, ge=0)
    fail: _Fail | None = None


class _Turn(_Strict):
    when: Annotated[Any, BeforeValidator(Expression.read)] = Expression.read("")
    steps: tuple[_Step, ...] = Field(min_length=1)


class _Script(_Strict):
    turns: tuple[_Turn, ...] = Field(min_length=1)


class ScriptedModel:
    """Answers from a script."""

    def __init__(self, script: _Script, clock: Clock) -> None:
        self._script = script
        self._clock = clock

    @classmethod
    def from_file(cls, path: Path, clock: Clock) -> "ScriptedModel":
        """Read a script from a file. Raises Misconfigured, naming the file and the key."""
        try:
            data = yaml.safe_load(path.read_text("utf-8"))
        except OSError as error:
            raise Misconfigured(f"The script {path} cannot be read: {error.strerror}.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise Misconfigured(f"The script {path} is not YAML: {error}") from error
        return cls.from_data(data, clock, source=str(path))

    @classmethod
    def from_data(cls, data: Any, clock: Clock, *, source: str = "data") -> "ScriptedModel":
        """Read a script from plain data. Raises Misconfigured, naming the source and the key."""
        try:
            return cls(_Script.model_validate(data), clock)
        except ValidationError as error:
            first = explain(error.errors(include_url=False), data)[0]
            where = ".".join(str(step) for step in first.path) or "the top"
            raise Misconfigured(f"The script {source}, at {where}: {first.text}.") from error

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Yield the step for the history word by word, then the Answer."""
        step, known = self._choose(request.messages)
        parts: list[Part] = []
        if step.thinking:
            parts.append(Thinking(_fill(step.thinking, known)))
            for word in _WORD.findall(_fill(step.thinking, known)):
                await self._pause(step)
                yield ThinkingPiece(word)
        if step.text:
            parts.append(Text(_fill(step.text, known)))
            for word in _WORD.findall(_fill(step.text, known)):
                await self._pause(step)
                yield TextPiece(word)
        if step.fail is not None:
            raise _FAILURES[step.fail.code](f"{NAME}: {step.fail.message}")
        calls = [
            ToolCall(
                self._clock.new_id(ids.TOOL_CALL), call.name, _fill_all(call.parameters, known)
            )
            for call in step.tool_calls
        ]
        yield _answer(request, AssistantMessage((*parts, *calls)))

    async def close(self) -> None:
        """Do nothing."""

    async def _pause(self, step: _Step) -> None:
        if step.delay_ms:
            await self._clock.sleep(step.delay_ms / 1000)

    def _choose(self, messages: tuple[Message, ...]) -> tuple[_Step, dict[str, Any]]:
        """Return the step for this history, and the values for its templates."""
        last = max(
            (at for at, message in enumerate(messages) if isinstance(message, UserMessage)),
            default=-1,
        )
        message = messages[last] if last >= 0 else UserMessage("")
        text = message.text if isinstance(message, UserMessage) else ""
        since = messages[last + 1 :]
        number = sum(isinstance(message, AssistantMessage) for message in since)
        results = [message.content for message in since if isinstance(message, ToolMessage)]
        for turn in self._script.turns:
            if found := turn.when.search(text):
                if number >= len(turn.steps):
                    raise ModelRejected(f"{NAME}: the turn has no step {number + 1}.")
                known = {**found.groupdict(""), "input": text}
                return turn.steps[number], {**known, "result": results[-1] if results else ""}
        raise ModelRejected(f"{NAME}: no turn matches {text[:80]!r}.")


def _answer(request: ModelRequest, message: AssistantMessage) -> Answer:
    texts = [request.instructions]
    for one in request.messages:
        match one:
            case UserMessage() | AssistantMessage():
                texts.append(one.text)
            case ToolMessage():
                texts.append(content_text(one.content))
    usage = Usage(estimate_tokens("\n".join(texts)), answer_tokens(message))
    return Answer(message, usage, NAME, finish_reason("stop", message))


def _fill(template: str, known: dict[str, Any]) -> str:
    return _FIELD.sub(lambda found: _field(found, known), template)


def _field(found: re.Match[str], known: dict[str, Any]) -> str:
    name, *path = found[1].split(".")
    if name not in known:
        return found[0]
    value = known[name]
    for key in path:
        value = _inside(value, key)
    return content_text(value)


def _inside(value: Any, key: str) -> Any:
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return ""
    return value.get(key, "") if isinstance(value, dict) else ""


def _fill_all(value: Any, known: dict[str, Any]) -> Any:
    match value:
        case str():
            return _fill(value, known)
        case dict():
            return {key: _fill_all(inner, known) for key, inner in value.items()}
        case list():
            return [_fill_all(inner, known) for inner in value]
        case _:
            return value
