"""Our own client of chat completions: requests, whole answers, and pieces of a provider's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import orjson

from outlast.agents.models.openai_chat import OpenAIChat, OpenAIEndpoint
from outlast.agents.models.providers import of_environment
from outlast.agents.port import Answer, CallPiece, ModelRequest, TextPiece, ThinkingPiece
from outlast.model.clock import SystemClock
from outlast.model.message import Message, UserMessage
from tests.support.waiting import BOUND

KEY = "topsecret-0123456789abcdef"


def ask(*messages: Message, **more: Any) -> ModelRequest:
    return ModelRequest("", messages or (UserMessage("Hello"),), **more)


@asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[OpenAIEndpoint]:
    environment = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY}
    made = OpenAIEndpoint(of_environment(environment), SystemClock(), **more)
    yield made
    await made.close()


async def heard(
    model: OpenAIChat, request: ModelRequest
) -> tuple[list[TextPiece | ThinkingPiece], Answer]:
    pieces: list[TextPiece | ThinkingPiece] = []
    async with asyncio.timeout(BOUND), aclosing(model.stream(request)) as events:
        async for event in events:
            if isinstance(event, Answer):
                return pieces, event
            if not isinstance(event, CallPiece):  # shown to no client
                pieces.append(event)
    raise AssertionError("no answer")


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + orjson.dumps({"model": "real-1", "choices": [choice]}) + b"\n\n"
