"""A server of HTTP tools on loopback that answers as a test says, and what it received."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from outlast.agents.port import ToolContext
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import Effect, HttpCall, ToolSpec
from outlast.model.error import ToolFailed

CONTEXT = ToolContext("ws_1", "exec_1", "tc_1")


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: Any


@dataclass
class HttpToolServer:
    """Answers each request with the next of its answers; the last one stays."""

    answers: list[bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]] = field(
        default_factory=list
    )
    seen: list[Request] = field(default_factory=list)
    port: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/tools/look"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *rest = head.strip().split("\r\n")
                pairs = [header.split(": ", 1) for header in rest]
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                is_json = "json" in headers.get("content-type", "json")
                content = orjson.loads(body) if body and is_json else body or None
                self.seen.append(Request(line, headers, content))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)
        self.gone.set()
        writer.close()


def answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    fields = {"content_type": "application/json", "content_length": str(len(body))} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def look(url: str, effect: Effect = Effect.READ_ONLY, **http: Any) -> ToolSpec:
    schema = {"type": "object", "properties": {"orderId": {"type": "string"}}}
    return ToolSpec("look", "Look", schema, effect, http=HttpCall(url, **http))


async def failure(box: ToolBox, spec: ToolSpec) -> str:
    with pytest.raises(ToolFailed) as raised:
        await box.call(spec, {}, CONTEXT)
    return raised.value.message
