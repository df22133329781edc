"""An MCP server over HTTP that keeps sessions and does odd things, in the test's own process."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson

from tests.support.http_tools import answer

Odd = Callable[[dict[str, Any], dict[str, str]], bytes | None]
"""Returns the answer to a message with these headers; None: the usual one; empty: hang up."""


class SessionServer:
    """Speaks the protocol of 2025-06-18, with a session that it may forget."""

    def __init__(self) -> None:
        self.sessions: set[str] = set()
        self.calls: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        """The headers of each `initialize`."""
        self.received: Counter[str] = Counter()
        """How many messages there were, by method."""
        self.odd: Odd = lambda _message, _headers: None
        self.port = 0
        self.schema: dict[str, Any] = {"type": "object"}
        """That of its tool's arguments."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *rest = head.strip().split("\r\n")
                headers = {k.lower(): v for k, v in (one.split(": ", 1) for one in rest)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                given = self._answer(line.split()[0], headers, orjson.loads(body) if body else {})
                writer.write(given)
                await writer.drain()
                if not given or given.endswith(b"cut off"):
                    break
        writer.close()

    def _answer(self, method: str, headers: dict[str, str], message: dict[str, Any]) -> bytes:
        self.received[message.get("method", method)] += 1
        if (odd := self.odd(message, headers)) is not None:
            return odd
        if method != "POST":
            return answer(b"", "405 Method Not Allowed")
        if message["method"] == "initialize":
            self.headers.append(headers)
            session = f"session-{len(self.headers)}"
            self.sessions.add(session)
            info = {"name": "odd", "version": "0"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": info}
            return said(message, result, mcp_session_id=session)
        session = headers.get("mcp-session-id", "")
        if session not in self.sessions:
            status = "404 Not Found" if session else "400 Bad Request"
            return answer(b"no such session", status, content_type="text/plain")
        return self._in_session(message)

    def _in_session(self, message: dict[str, Any]) -> bytes:
        match message["method"]:
            case "tools/list":
                return said(message, {"tools": [{"name": "act", "inputSchema": self.schema}]})
            case "tools/call":
                self.calls.append(message["params"])
                return said(message, {"content": [{"type": "text", "text": "acted"}]})
            case _:
                return answer(b"", "202 Accepted")


def said(message: dict[str, Any], result: dict[str, Any], **headers: str) -> bytes:
    body = {"jsonrpc": "2.0", "id": message["id"], "result": result}
    return answer(orjson.dumps(body), **headers)


def refused(message: dict[str, Any], code: int, text: str) -> bytes:
    error = {"code": code, "message": text}
    return answer(orjson.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}))


@asynccontextmanager
async def session_server() -> AsyncIterator[SessionServer]:
    server = SessionServer()
    async with serving(server):
        yield server


@asynccontextmanager
async def serving(server: SessionServer) -> AsyncIterator[None]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        listening.close()
