"""A tool server that counts, and a provider that asks for two tools one after the other.

    POST /tools/lookup_order       counts the call under its `Idempotency-Key` and answers at once
    POST /v1/chat/completions      a tool call, a second one, then 12 words; the second request of
                                   every execution is held back until the gate is opened
    GET  /counts                   {"calls": {key: times}, "held": requests held back}
    POST /gate                     opens the gate

A held request shows that its execution's first tool call is recorded: that is the moment to kill.
Run by itself: `python -m bench.workshop`, which prints its port.
"""

import asyncio
import re
from collections import Counter
from typing import Any

import orjson
from tests.provider_chunks import LAST_CHUNK, frame, tail, words

from bench.client import HOST

TURNS = 2
WORDS = 12
RESULT = {"orderId": "A-1", "status": "shipped", "carrier": "Example Post"}
_KEY = re.compile(rb"^idempotency-key: *(\S+)", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


class Workshop:
    """What was called, and who waits at the gate."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.open = False
        self.held: set[_Connection] = set()

    def count(self, head: bytes) -> None:
        """Note a tool call."""
        found = _KEY.search(head)
        self.calls[found[1].decode() if found else ""] += 1

    def open_gate(self) -> None:
        """Let everybody through, now and later."""
        self.open = True
        for connection in list(self.held):
            connection.send_turn(1)
        self.held.clear()


class _Connection(asyncio.Protocol):
    """One client; one request at a time, kept alive."""

    transport: asyncio.Transport

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's own class

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.workshop.held.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end]
        found = _LENGTH.search(head)
        stop = end + 4 + (int(found[1]) if found else 0)
        if len(self.buffer) >= stop:
            body, self.buffer = self.buffer[end + 4 : stop], self.buffer[stop:]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        workshop = self.workshop
        match head.split(b" ", 2)[1]:
            case b"/counts":
                self.send_json({"calls": workshop.calls, "held": len(workshop.held)})
            case b"/gate":
                workshop.open_gate()
                self.send_json({})
            case b"/v1/chat/completions":
                self.turn(orjson.loads(body))
            case _:
                workshop.count(head)
                self.send_json(RESULT)

    def turn(self, request: dict[str, Any]) -> None:
        done = sum(message["role"] == "tool" for message in request["messages"])
        if done == 1 and not self.workshop.open:
            self.workshop.held.add(self)
        else:
            self.send_turn(done)

    def send_turn(self, done: int) -> None:
        if done < TURNS:
            call = {
                "index": 0,
                "id": f"call_{done}",
                "type": "function",
                "function": {"name": "lookup_order", "arguments": '{"orderId":"A-1"}'},
            }
            chunks = [frame({"tool_calls": [call]}), *tail("tool_calls", done + 2, 1, True)]
        else:
            chunks = [*words(WORDS), *tail("stop", done + 2, WORDS, True)]
        assert chunks[-1].endswith(LAST_CHUNK)
        self.transport.write(_STREAM + b"".join(chunks))

    def send_json(self, value: Any) -> None:
        body = orjson.dumps(value)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)


async def serve() -> None:
    """Serve on a free port and print it."""
    workshop = Workshop()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(workshop), HOST, 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
