"""The model and the tools of a state machine of moves, all directed by plots.

A plot is an execution's input: what each model request of the turn says and calls. Nothing that was
said or called is ever the same twice: every piece of text and every call's id is new, so that
superseded work cannot pass for work that stands.
"""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any, TypeVar

import orjson

from outlast import Context, ToolFailed, ToolMessage, UserMessage, agent_tool
from outlast.agents.define import agent
from outlast.agents.port import (
    Answer,
    InputNeeded,
    ModelEvent,
    ModelRequest,
    TextPiece,
    ToolContext,
    WaitFor,
)
from outlast.agents.tools.arguments import Arguments
from outlast.agents.tools.client_kind import client_tool, is_client_tool
from outlast.model.agent import AgentSpec, Effect, Expiry, Limits, ToolSpec
from outlast.model.client_call import ClientTool
from outlast.model.clock import Clock
from outlast.model.error import ModelRejected
from outlast.model.ids import TOOL_CALL
from outlast.model.input_request import Answers, InputRequest
from outlast.model.message import AssistantMessage, Message, Text, ToolCall
from outlast.model.wait import WaitKind
from tests.support.models import USAGE
from tests.support.tools import spec, tool

T = TypeVar("T")
EXPIRES = 60
TOOLS = (
    tool("look"),
    tool("put", Effect.IDEMPOTENT),
    tool("wipe", Effect.DESTRUCTIVE),
    tool("pay", Effect.DESTRUCTIVE, approval=True),
    tool("tip", Effect.DESTRUCTIVE, approval=True, expiry=Expiry(EXPIRES)),
    tool("break"),
    tool("quiz"),
    tool("book", Effect.DESTRUCTIVE, approval=True),
    client_tool("locate", timeout=EXPIRES),
)
DECLARED = (ClientTool("show", "Does show.", {"type": "object"}, EXPIRES),)
"""Tools that requests declare, whose client runs them as it runs `locate`."""
BY_CLIENT = frozenset({"locate", "show"})
NEEDING = frozenset({"quiz", "book"})
"""Tools whose server needs a person's input before they have their effect.

A gated call of one is held open by the server while it waits for input.
"""
NAMES = tuple(one.name for one in TOOLS)
CALLEES = (
    agent_tool("agent", name="helper"),
    agent_tool("coder", name="colleague"),
    agent_tool("agent", name="hire", approval=True),
)
"""Tools that are agents: each call is an execution with a plot of its own."""
HELPERS = tuple(one.name for one in CALLEES)
ASKING = frozenset(one.name for one in TOOLS if one.approval)
DESTRUCTIVE = frozenset(one.name for one in TOOLS if one.effect is Effect.DESTRUCTIVE)
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


class Gates:
    """Who waits to be let go, by plot."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Event]] = defaultdict(list)
        self.asking: set[str] = set()
        """Plots whose model waits, which a pause may close at once."""
        self.open = False
        """Nothing waits any more."""

    def __contains__(self, plot: str) -> bool:
        return bool(self._waiting.get(plot))

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def wait(self, plot: str) -> None:
        if self.open:
            return
        gate = asyncio.Event()
        self._waiting[plot].append(gate)
        try:
            await gate.wait()
        finally:
            self._waiting[plot].remove(gate)

    def release(self, plot: str) -> None:
        for gate in self._waiting.get(plot, ())[:1]:
            gate.set()

    def release_all(self) -> None:
        for gates in self._waiting.values():
            for gate in gates:
                gate.set()


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


@dataclass(frozen=True, slots=True)
class Run:
    """A tool's effect."""

    call_id: str
    name: str
    arguments: dict[str, Any]
    said: int
    """How much people had said by then."""


class PlotTools:
    """The tools; remembers every effect, and what people have said, in their order."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self.runs: list[Run] = []
        self.said: list[tuple[str, str]] = []
        """(execution or call, what), written before it takes effect."""
        self.held = Counter[str]()
        """How many calls are held open for input, by plot."""

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        if spec.name in NEEDING:
            await self._input(arguments, context)
        self.runs.append(Run(context.tool_call_id, spec.name, arguments, len(self.said)))
        if arguments["gated"] and spec.name not in NEEDING:
            await self._gates.wait(arguments["plot"])
        if spec.name == "break":
            raise ToolFailed("It is broken.")
        return {"did": arguments["number"]}

    async def _input(self, arguments: dict[str, Any], context: ToolContext) -> None:
        """Return once a call has all its input; every second call needs it twice."""
        times = 1 + arguments["number"] % 2
        if not arguments["gated"]:
            _require_input(context, times)
            return
        assert context.ask is not None
        for _ in range(times):
            self.held[arguments["plot"]] += 1
            try:
                _value(await context.ask(InputRequest({"q": _QUESTION}, live=True)))
            finally:
                self.held[arguments["plot"]] -= 1

    def waits_for(self, spec: ToolSpec, _arguments: dict[str, Any]) -> WaitFor | None:
        if is_client_tool(spec):
            return WaitFor(WaitKind.CLIENT, spec.timeout)
        return WaitFor(WaitKind.CHILD) if spec.name in HELPERS else None

    async def asks(self, spec: ToolSpec, arguments: dict[str, Any]) -> bool:
        raise AssertionError("no tool of these has a predicate")

    connections = 0

    def give_up(self, source: ToolSpec, handle: dict[str, Any], context: ToolContext) -> None:
        raise AssertionError("no call of these has a handle")

    async def listed(self, spec: AgentSpec, _context: ToolContext) -> AgentSpec:
        return spec

    def check(self, spec: ToolSpec, arguments: dict[str, Any]) -> None:
        Arguments().check_edited(spec.parameters, arguments)

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


def _require_input(context: ToolContext, times: int) -> None:
    """Raise InputNeeded before the call has all its input.

    Its server's state is the call and what it was given so far.
    """
    given, state = context.given, [context.tool_call_id]
    if given is not None:
        state = orjson.loads(given.request.state or "")
        assert state[0] == context.tool_call_id
        state.append(_value(given.answers))
    if len(state) <= times:
        request = InputRequest({"q": _QUESTION}, orjson.dumps(state).decode(), rounds=len(state))
        raise InputNeeded(request)


def _value(answers: Answers) -> Any:
    """Return what a person gave. Raises ToolFailed where there is none."""
    answer = answers["q"]
    if answer["action"] != "accept":
        raise ToolFailed(f"It was answered with {answer['action']}.")
    return answer["content"]["value"]


_QUESTION = {
    "message": "Which one?",
    "mode": "form",
    "schema": {"type": "object", "properties": {"value": {"type": "integer"}}},
}


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
    own = replace(spec(*TOOLS, *CALLEES, limits=_LIMITS), model="player")
    return [own, replace(CODE.spec, tools=(*TOOLS, *CALLEES))]
