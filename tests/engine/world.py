"""A small world for engine tests: models that are functions of the history, and tools."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from types import GeneratorType
from typing import Any, TypeVar

from outlast.agents.port import (
    Answer,
    ModelEvent,
    ModelRequest,
    TextPiece,
    ThinkingPiece,
    ToolContext,
)
from outlast.agents.tools.arguments import Arguments
from outlast.app import Core
from outlast.model.agent import AgentSpec, Effect, ToolSpec
from outlast.model.error import OutlastError, Overloaded
from outlast.model.execution import TERMINAL, Status
from outlast.model.message import AssistantMessage, Text, Thinking, ToolCall, ToolMessage
from outlast.model.usage import Usage
from outlast.services.executions import StartExecution
from outlast.store.driver import Driver, Transaction
from outlast.store.store import Store
from outlast.testing import FakeClock

USAGE = Usage(10, 5, 3, 1)
Reply = Sequence[str | ToolCall | OutlastError | asyncio.Event]
"""What one model request does, in order: say a piece, call a tool, fail, or wait."""


class Actor:
    """Answers by a function of the request; remembers what it was asked."""

    def __init__(self, play: Callable[[ModelRequest], Reply]) -> None:
        self._play = play
        self.asked: list[ModelRequest] = []
        self.open = 0
        self.spoke = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.asked.append(request)
        self.open += 1
        try:
            texts: list[str] = []
            calls: list[ToolCall] = []
            for part in self._play(request):
                match part:
                    case str():
                        texts.append(part)
                        yield TextPiece(part)
                        self.spoke.set()
                    case ToolCall():
                        calls.append(part)
                    case asyncio.Event():
                        await part.wait()
                    case OutlastError():
                        raise part
            said = (Text("".join(texts)),) if texts else ()
            reason = "tool_calls" if calls else "stop"
            yield Answer(AssistantMessage((*said, *calls)), USAGE, "actor-1", reason)
        finally:
            self.open -= 1

    async def close(self) -> None:
        pass


class Thinker:
    """Thinks before it speaks."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        yield ThinkingPiece("hm")
        yield TextPiece("ah")
        yield Answer(AssistantMessage((Thinking("hm"), Text("ah"))), USAGE, "thinker", "stop")

    async def close(self) -> None:
        pass


def by_turn(*replies: Reply) -> Callable[[ModelRequest], Reply]:
    """The nth reply for the nth model request of a turn, told from the history alone."""

    def play(request: ModelRequest) -> Reply:
        said = 0
        for message in reversed(request.messages):
            if isinstance(message, AssistantMessage):
                said += 1
            elif not isinstance(message, ToolMessage):
                break
        return replies[said]

    return play


class Bench:
    """Tools as plain functions of their arguments; counts calls by their idempotency key."""

    def __init__(self, **functions: Callable[[dict[str, Any]], Any]) -> None:
        self._functions = functions
        self.calls: Counter[str] = Counter()
        self.order: list[str] = []
        self.context: ToolContext | None = None

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        self.calls[context.tool_call_id] += 1
        self.order.append(spec.name)
        self.context = context
        result = self._functions[spec.name](arguments)
        if isinstance(result, OutlastError):
            raise result
        return await result if asyncio.iscoroutine(result) else result

    async def asks(self, spec: ToolSpec, arguments: dict[str, Any]) -> bool:
        return bool(self._functions[str(spec.approval)](arguments))

    def check(self, spec: ToolSpec, arguments: dict[str, Any]) -> None:
        Arguments().check_edited(spec.parameters, arguments)

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


def tool(name: str, effect: Effect = Effect.READ_ONLY, **more: Any) -> ToolSpec:
    return ToolSpec(name, f"Does {name}.", {"type": "object"}, effect, **more)


def spec(*tools: ToolSpec, **more: Any) -> AgentSpec:
    return AgentSpec("agent", "actor", "Be kind.", tools=tools, **more)


def call(number: int, name: str, **parameters: Any) -> ToolCall:
    return ToolCall(f"tc_{number:026d}", name, parameters)


class Crash:
    """A death with the nth write: before it is committed, or after and before anybody hears."""

    def __init__(self, writes: int, *, commits_last: bool) -> None:
        self.dead = asyncio.Event()
        self._left = writes
        self._commits_last = commits_last

    def store(self, driver: Driver) -> Store:
        """A store that dies this death."""
        dying: Any = CrashingDriver(driver, self)
        return Store.over(dying)

    def revive(self) -> None:
        """Let all further writes pass."""
        self._left = 1_000_000

    def lets_pass(self) -> bool:
        """Whether a write is committed and heard of."""
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def commits(self) -> bool:
        """Whether a write that is not heard of is committed all the same."""
        first = not self.dead.is_set()
        self.dead.set()
        return self._commits_last and first


T = TypeVar("T")


class CrashingDriver:
    """Dies by a crash, in the transactions of these names."""

    mortal = frozenset({"advance", "append_text"})

    def __init__(self, driver: Driver, crash: Crash) -> None:
        self._driver = driver
        self._crash = crash

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def write(self, transaction: Callable[[], Transaction[T]], **more: Any) -> T:
        """Write, unless the process dies of it: before the commit, or behind it."""
        made = transaction()
        assert isinstance(made, GeneratorType)
        if made.__name__ not in self.mortal or self._crash.lets_pass():
            return await self._driver.write(transaction, **more)
        if self._crash.commits():
            await self._driver.write(transaction, **more)
        raise Overloaded("The process died.")


def start_request(text: str = "Hello", **more: Any) -> StartExecution:
    return StartExecution(text, **more)


async def over_in_time(core: Core, clock: FakeClock, workspace_id: str, execution_id: str) -> None:
    """Let time pass while the execution waits, not while it works, until it is completed."""
    while True:
        execution = await core.store.executions.get(workspace_id, execution_id)
        if execution.status in TERMINAL:
            break
        if execution.status is Status.SUSPENDED:
            clock.advance(1)
        await asyncio.to_thread(int)
    assert execution.status is Status.COMPLETED, execution.error
