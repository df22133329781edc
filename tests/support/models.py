"""Models that answer by a function of the history."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from outlast.agents.port import (
    Answer,
    ModelEvent,
    ModelRequest,
    TextPiece,
    ThinkingPiece,
)
from outlast.model.error import OutlastError
from outlast.model.message import AssistantMessage, Text, Thinking, ToolCall, ToolMessage
from outlast.model.usage import Usage

USAGE = Usage(10, 5, 3, 1)
Reply = Sequence[str | ToolCall | OutlastError | asyncio.Event]
"""What one model request does, in order: say a piece, call a tool, fail, or wait."""


class FakeModel:
    """Answers by a function of the request; remembers its requests."""

    def __init__(self, play: Callable[[ModelRequest], Reply]) -> None:
        self._play = play
        self.requests: list[ModelRequest] = []
        self.open = 0
        self.spoke = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests.append(request)
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


class ThinkingModel:
    """Thinks before it speaks."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        yield ThinkingPiece("hm")
        yield TextPiece("ah")
        yield Answer(AssistantMessage((Thinking("hm"), Text("ah"))), USAGE, "thinker", "stop")

    async def close(self) -> None:
        pass


def by_turn(*replies: Reply) -> Callable[[ModelRequest], Reply]:
    """The nth reply for the nth model request of a turn, known from the history alone."""

    def play(request: ModelRequest) -> Reply:
        said = 0
        for message in reversed(request.messages):
            if isinstance(message, AssistantMessage):
                said += 1
            elif not isinstance(message, ToolMessage):
                break
        return replies[said]

    return play
