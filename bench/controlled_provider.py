"""A tool server that counts, and a provider that holds requests back or tells the time.

    POST /tools/lookup_order       counts the call under its `Idempotency-Key` and answers at once
    POST /v1/chat/completions      what the model's name says:
        turns                      a tool call, a second one, then 12 words; the second request of
                                   every execution is held back while the gate is closed
        steps-N                    N / 2 tool calls, the first two in one answer, each other in one
                                   of its own, then a word: N steps in all
        clock-N[-delay-MS]         N words, MS milliseconds apart: each the time when it was sent
        silent                     such a word, then nothing
        fan-N                      N calls of its first tool, each with an input of its own; then a
                                   word
    GET  /counts                   {"calls": {key: times}, "held": requests held back,
                                   "silent": texts of silent answers that are open,
                                   "cuts": {user text: time at which its silent answer was cut off}}
    POST /gate                     {"open": whether it is}

A held request shows that its execution's first tool call is recorded: that is the moment to kill.
Times are seconds of the machine's monotonic clock, which all processes share.
Run by itself: `python -m bench.controlled_provider`, which prints its port.
"""

import asyncio
import re
import time
from collections import Counter
from typing import Any

import orjson
from tests.support.provider_chunks import LAST_CHUNK, frame, last_user_text, tail, words

from bench.client import HOST

TURNS = 2
WORDS = 12
RESULT = {"orderId": "A-1", "status": "shipped", "carrier": "Example Post"}
_KEY = re.compile(rb"^idempotency-key: *(\S+)", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)
_STEPS = re.compile(r"steps-(\d+)")
_FAN = re.compile(r"fan-(\d+)")
_CLOCK = re.compile(r"clock-(\d+)(?:-delay-(\d+))?")
TIME_WORD = re.compile(rb'"(?:content|text)":"(\d+\.\d{6}) "')
"""A word that tells the time, in the provider's frames and in ours."""
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def time_word() -> bytes:
    """A word that tells the time."""
    return frame({"content": f"{time.monotonic():.6f} "})


def calling(done: int, count: int) -> list[bytes]:
    """An answer with so many calls, behind so many that are done."""
    calls = [
        {
            "index": index,
            "id": f"call_{done + index}",
            "type": "function",
            "function": {"name": "lookup_order", "arguments": '{"orderId":"A-1"}'},
        }
        for index in range(count)
    ]
    return [frame({"tool_calls": calls}), *tail("tool_calls", done + 2, count, True)]


def fanning(request: dict[str, Any], count: int) -> list[bytes]:
    """An answer with so many calls of the first tool."""
    name, text = request["tools"][0]["function"]["name"], last_user_text(request)
    calls = [
        {
            "index": index,
            "id": f"call_{index}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": orjson.dumps({"input": f"{text}.{index}"}).decode(),
            },
        }
        for index in range(count)
    ]
    return [frame({"tool_calls": calls}), *tail("tool_calls", 2, count, True)]


def saying(done: int, count: int) -> list[bytes]:
    """The last answer, of so many words."""
    return [*words(count), *tail("stop", done + 2, count, True)]


class ControlledProvider:
    """What was called, and who waits at the gate."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.open = False
        self.held: set[_Connection] = set()
        self.silent: set[str] = set()
        self.cuts: dict[str, float] = {}

    def count(self, head: bytes) -> None:
        """Note a tool call."""
        found = _KEY.search(head)
        self.calls[found[1].decode() if found else ""] += 1

    def set_gate(self, *, open: bool) -> None:
        """Let every request through, now and later, or none from now on."""
        self.open = open
        if open:
            for connection in list(self.held):
                connection.send_turn(1)
            self.held.clear()


class _Connection(asyncio.Protocol):
    """One client; one request at a time, kept alive."""

    transport: asyncio.Transport

    def __init__(self, controlled: ControlledProvider) -> None:
        self.controlled = controlled
        self.buffer = b""
        self.timer: asyncio.TimerHandle | None = None
        self.silent = ""
        """The user text whose answer is kept waiting."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's own class

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.controlled.held.discard(self)
        if self.timer is not None:
            self.timer.cancel()
        if self.silent:
            self.controlled.cuts[self.silent] = time.monotonic()
            self.controlled.silent.discard(self.silent)

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
        controlled = self.controlled
        match head.split(b" ", 2)[1]:
            case b"/counts":
                calls, held = controlled.calls, len(controlled.held)
                found = {"calls": calls, "held": held, "cuts": controlled.cuts}
                self.send_json(found | {"silent": list(controlled.silent)})
            case b"/gate":
                controlled.set_gate(open=orjson.loads(body)["open"])
                self.send_json({})
            case b"/v1/chat/completions":
                self.complete(orjson.loads(body))
            case _:
                controlled.count(head)
                self.send_json(RESULT)

    def complete(self, request: dict[str, Any]) -> None:
        name = str(request.get("model", ""))
        if found := _CLOCK.fullmatch(name):
            self.transport.write(_STREAM)
            self.tell(int(found[1]), float(found[2] or 0) / 1000, 1, time.monotonic())
        elif found := _STEPS.fullmatch(name):
            self.step(request, calls=int(found[1]) // 2)
        elif found := _FAN.fullmatch(name):
            done = any(message["role"] == "tool" for message in request["messages"])
            self.send(saying(1, 1) if done else fanning(request, int(found[1])))
        elif name == "silent":
            self.silent = last_user_text(request)
            self.controlled.silent.add(self.silent)
            self.transport.write(_STREAM + time_word())
        else:
            self.turn(request)

    def tell(self, count: int, delay: float, number: int, began: float) -> None:
        """Say this word and those behind it, each when it is due; the last brings the end."""
        while number < count:
            self.transport.write(time_word())
            if delay:
                loop = asyncio.get_running_loop()
                due = loop.time() + began + number * delay - time.monotonic()
                self.timer = loop.call_at(due, self.tell, count, delay, number + 1, began)
                return
            number += 1
        self.transport.write(time_word() + b"".join(tail("stop", 2, count, True)))

    def turn(self, request: dict[str, Any]) -> None:
        done = sum(message["role"] == "tool" for message in request["messages"])
        if done == 1 and not self.controlled.open:
            self.controlled.held.add(self)
        else:
            self.send_turn(done)

    def send_turn(self, done: int) -> None:
        self.send(calling(done, 1) if done < TURNS else saying(done, WORDS))

    def step(self, request: dict[str, Any], *, calls: int) -> None:
        done = sum(message["role"] == "tool" for message in request["messages"])
        self.send(calling(done, 1 if done else 2) if done < calls else saying(done, 1))

    def send(self, chunks: list[bytes]) -> None:
        assert chunks[-1].endswith(LAST_CHUNK)
        self.transport.write(_STREAM + b"".join(chunks))

    def send_json(self, value: Any) -> None:
        body = orjson.dumps(value)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)


async def serve() -> None:
    """Serve on a free port and print it."""
    controlled = ControlledProvider()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(controlled), HOST, 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
