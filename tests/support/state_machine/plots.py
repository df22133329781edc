"""The model and the tools of a state machine of moves, all directed by plots.

A plot is an execution's input: what each model request of the turn says and calls. Nothing that was
said or called is ever the same twice: every piece of text and every call's id is new, so that
superseded work cannot pass for work that stands.
"""

import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any, TypeVar

import orjson

from outlast import Context, ToolFailed, ToolMessage, UserMessage
from outlast.agents.define import agent
from outlast.agents.port import (
    Answer,
    ModelEvent,
    ModelRequest,
    TextPiece,
)
from outlast.model.agent import AgentSpec, Limits
from outlast.model.clock import Clock
from outlast.model.error import ModelRejected
from outlast.model.ids import TOOL_CALL
from outlast.model.message import AssistantMessage, Message, Text, ToolCall
from tests.support.models import USAGE
from tests.support.state_machine.gates import Gates
from tests.support.state_machine.tools import CALLEES, FAR, HELPERS, TOOLS
from tests.support.tools import spec

T = TypeVar("T")
_PIECE = re.compile(r"<\d+>")
_CHILDREN = 1_000_000
"""The first number of a child's plot."""
_LIMITS = Limits(max_steps=10_000, max_seconds=None)


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a reply; `gated` ones have their effect and then wait to be let go."""

    name: str
    gated: bool = False
    replies: "tuple[Reply, ...]" = ()
    """The plot of the agent that is called."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What one model request says and calls; without calls it is the last."""

    pieces: int = 1
    gated: bool = False
    """Waits behind its first piece to be let go."""
    fails: bool = False
    calls: tuple[Called, ...] = ()


def written(plot: str, replies: Sequence[Reply]) -> str:
    """The input of an execution that takes this course."""
    return orjson.dumps({"plot": plot, "replies": replies}).decode()


def read(text: str) -> tuple[str, list[Reply]]:
    """The name and the course of a plot."""
    data = orjson.loads(text)
    return data["plot"], list(_replies(data["replies"]))


def _replies(found: Sequence[dict[str, Any]]) -> Iterator[Reply]:
    for one in found:
        calls = (each | {"replies": tuple(_replies(each["replies"]))} for each in one["calls"])
        yield Reply(**{**one, "calls": tuple(Called(**each) for each in calls)})


def edited(parameters: dict[str, Any]) -> dict[str, Any]:
    """What a person makes of a call's arguments."""
    if "number" in parameters:
        return parameters | {"number": parameters["number"] + 1_000}
    plot, replies = read(parameters["input"])
    return {"input": written(plot, replies[:1])}


def plot_of(text: str) -> str:
    """The plot that an execution takes."""
    return read(text)[0]


class PlotModel:
    """A model that plays plots; remembers what it has said, and what it has read since."""

    def __init__(self, gates: Gates, clock: Clock) -> None:
        self._gates = gates
        self._clock = clock
        self._numbers = count(1)
        self.said: dict[str, set[str]] = defaultdict(set)
        """Every piece of text, by plot."""
        self.read: list[tuple[str, set[str]]] = []
        """Every request: its plot, and the pieces of text in its messages."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        plot, reply = _place(request)
        self.read.append((plot, pieces_of(request.messages)))
        pieces = [f"<{next(self._numbers)}>" for _ in range(reply.pieces)]
        for index, piece in enumerate(pieces):
            self.said[plot].add(piece)
            yield TextPiece(piece)
            if index == 0 and reply.gated:
                await self._wait(plot)
        if reply.gated and not pieces:
            await self._wait(plot)
        if reply.fails and not self._gates.open:
            raise ModelRejected("No.")
        calls = tuple(self._call(plot, called) for called in reply.calls)
        said = (Text("".join(pieces)),) if pieces else ()
        reason = "tool_calls" if calls else "stop"
        yield Answer(AssistantMessage((*said, *calls)), USAGE, "player-1", reason)

    async def _wait(self, plot: str) -> None:
        self._gates.asking.add(plot)
        try:
            await self._gates.wait(plot)
        finally:
            self._gates.asking.discard(plot)

    def _call(self, plot: str, called: Called) -> ToolCall:
        number = next(self._numbers)
        parameters: dict[str, Any] = {"plot": plot, "gated": called.gated, "number": number}
        if called.name in HELPERS:
            parameters = {"input": written(str(_CHILDREN + number), called.replies)}
        return ToolCall(self._clock.new_id(TOOL_CALL), called.name, parameters)

    async def close(self) -> None:
        pass


def pieces_of(messages: Iterable[Message]) -> set[str]:
    """The pieces of text that assistants, and agents that were called, have said in these."""
    texts = (str(m.content) if isinstance(m, ToolMessage) else m.text for m in messages)
    return {piece for text in texts for piece in _PIECE.findall(text)}


def _place(request: ModelRequest) -> tuple[str, Reply]:
    """The plot of the newest turn, and which of its replies comes next."""
    said = 0
    for message in reversed(request.messages):
        if isinstance(message, UserMessage):
            plot, replies = read(message.text)
            return plot, replies[said] if said < len(replies) else Reply()
        said += isinstance(message, AssistantMessage)
    raise AssertionError("there is no user message")


async def loop(ctx: Context, given: str) -> str:
    """The loop that everybody writes; every second plot keeps its rounds in checkpoints."""
    rounds: list[dict[str, Any]] = list(ctx.state.get("rounds", ()))
    saves = int(plot_of(given)) % 2 == 0
    while True:
        said = (*ctx.history, UserMessage(given), *_messages(rounds))
        answer = await ctx.model(said, tools=ctx.tools)
        if not answer.tool_calls:
            return answer.text
        made = [await _made(ctx, wanted) for wanted in answer.tool_calls]
        rounds.append({"text": answer.text, "made": made})
        if saves:
            await ctx.checkpoint({"rounds": rounds}, f"round {len(rounds)}")
        await ctx.emit("round", len(rounds))


async def _made(ctx: Context, wanted: ToolCall) -> dict[str, Any]:
    try:
        result, is_error = await ctx.tool(wanted.name, **wanted.parameters), False
    except ToolFailed as error:
        result, is_error = error.message, True
    return {"call": asdict(wanted), "result": result, "is_error": is_error}


def _messages(rounds: Sequence[dict[str, Any]]) -> Iterator[Message]:
    for one in rounds:
        calls = [ToolCall(**made["call"]) for made in one["made"]]
        texts = [Text(one["text"])] if one["text"] else []
        yield AssistantMessage((*texts, *calls))
        for call, made in zip(calls, one["made"], strict=True):
            yield ToolMessage(call.id, call.name, made["result"], made["is_error"])


CODE = agent(model="player", name="coder", limits=_LIMITS)(loop)


def agents() -> list[AgentSpec]:
    """The server's own loop, and the same loop as a code agent."""
    own = replace(spec(*TOOLS, *CALLEES, FAR, limits=_LIMITS), model="player")
    return [own, replace(CODE.spec, tools=(*TOOLS, *CALLEES, FAR))]
