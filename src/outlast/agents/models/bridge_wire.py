"""Streams of OpenAI's chat completions, made plain before an SDK reads them.

SDKs take what OpenAI sends. Other endpoints number tool calls in ways of their own, report errors
in other shapes, and frame events more freely. So that the bridge reads them as `openai_chat` does,
a hook on the SDK's HTTP client rewrites what differs; everything else passes unchanged.
"""

import json
from collections import deque
from collections.abc import AsyncGenerator
from functools import cache
from typing import Any, Final, Self

from outlast.agents.models.chat_answer import error_of, error_value
from outlast.agents.models.chat_calls import CallDrafts
from outlast.agents.models.openai_chat import MAX_ANSWER_BYTES
from outlast.agents.models.sse import ErrorData, EventData
from outlast.model.text import read_json

_DONE: Final = b"[DONE]"
_PATH: Final = "/chat/completions"
_OK: Final = 200
_CHARSETS: Final = frozenset(
    """
    utf-8 utf8 us-ascii ascii iso-8859-1 latin-1 iso-8859-15 windows-1252 cp1252 utf-16 utf-16le
    utf-16be shift_jis euc-jp gbk gb2312 gb18030 big5 euc-kr
    """.split()  # noqa: SIM905  a table
)


class BrokenOff(Exception):
    """The provider has sent an error in mid-stream."""

    def __init__(self, error: Any) -> None:
        """`error`: its value, in the provider's shape."""
        super().__init__("the provider broke off")
        self.error = error


class CutShort(Exception):
    """The provider's stream has ended without an end of its answer."""


def read_plainly(client: Any) -> None:
    """Make an SDK's client read answers plainly; safe to call again with the same client."""
    http = getattr(client, "_client", None)
    hooks = getattr(http, "event_hooks", None)
    if http is not None and isinstance(hooks, dict) and _plain not in hooks.get("response", ()):
        http.event_hooks = {**hooks, "response": [*hooks.get("response", ()), _plain]}


async def _plain(response: Any) -> None:
    """Read rare charsets as UTF-8 (some decoders are quadratic), and rewrite a stream of chunks."""
    charset = getattr(response, "charset_encoding", None)
    if isinstance(charset, str) and charset.lower() not in _CHARSETS:
        response.encoding = "utf-8"
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status_code != _OK or not response.request.url.path.endswith(_PATH):
        return
    if kind == "text/event-stream":
        plain: Any = type(response)
        response.__class__ = _rewriting(plain)


@cache
def _rewriting(kind: Any) -> Any:
    """Return a response's class that rewrites what it reads.

    A function on the response itself would refer to it: a cycle, which only the garbage collector
    ends, in no order.
    """

    def aiter_bytes(response: Any, chunk_size: int | None = None) -> Rewritten:
        return Rewritten(kind.aiter_bytes(response, chunk_size))

    return type(kind.__name__, (kind,), {"aiter_bytes": aiter_bytes})


class Rewritten:
    """The events of a stream, one piece each, up to its end. Raises BrokenOff, CutShort."""

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        self._pieces = pieces
        self._events = EventData()
        self._chunks = _Chunks()
        self._ready: deque[bytes] = deque()
        self._at_end = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._ready:
            if self._chunks.done:
                raise StopAsyncIteration
            if self._at_end:
                self._chunks.end()
                raise StopAsyncIteration
            try:
                await self._read()
            except Exception:
                await self.aclose()
                raise
        return self._ready.popleft()

    async def aclose(self) -> None:
        """End reading, as a generator does."""
        await self._pieces.aclose()

    async def _read(self) -> None:
        piece = await anext(self._pieces, None)
        self._at_end = piece is None
        for data in self._events.finish() if piece is None else self._events.feed(piece):
            self._ready.extend(self._chunks.take(data))
        if self._events.held > MAX_ANSWER_BYTES:
            raise ValueError(f"an event larger than {MAX_ANSWER_BYTES} bytes")


class _Chunks:
    """Rewrites the chunks of one answer."""

    def __init__(self) -> None:
        self.done = False
        """Whether the provider has said that the answer has ended."""
        self._finished = False
        self._calls = CallDrafts()

    def take(self, data: bytes) -> tuple[bytes, ...]:
        """Return the event to read in place of this data, if any. Raises BrokenOff."""
        bare = data.strip()
        if self.done or not bare:
            return ()
        if bare == _DONE:
            self.done = True
            return (_event(_DONE),)
        if isinstance(data, ErrorData):
            raise BrokenOff(error_value(bytes(data)))
        try:
            chunk = read_json(bytes(bare))
        except ValueError:
            return (_event(bare),)  # the SDK says what is wrong
        if not isinstance(chunk, dict):
            return (_event(bare),)
        return (_event(json.dumps(chunk).encode() if self._rewrite(chunk) else bare),)

    def end(self) -> None:
        """Raise CutShort if the answer has not ended."""
        if not (self.done or self._finished):
            raise CutShort

    def _rewrite(self, chunk: dict[str, Any]) -> bool:
        """Rewrite what differs; return whether anything did. Raises BrokenOff, TypeError."""
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if choices and not isinstance(choice, dict):
            return False
        odd = choice is None or "error" in choice or "error" in chunk
        if odd and (error := error_of(chunk)):
            raise BrokenOff(error)
        if choice is None:
            return False
        self._finished = self._finished or bool(choice.get("finish_reason"))
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return False
        changed = False
        if refusal := delta.pop("refusal", None):
            delta["content"] = _joined(delta.get("content"), refusal)
            changed = True
        if isinstance(calls := delta.get("tool_calls"), list) and calls:
            delta["tool_calls"] = [part for call in calls for part in self._numbered(call)]
            changed = True
        return changed

    def _numbered(self, call: Any) -> list[Any]:
        """Return a delta with the number of its call, and only what is new of its name."""
        if not isinstance(call, dict):
            return [call]
        taken = self._calls.place(call)
        if taken is None:
            return []
        number, is_new, name = taken
        function = call.get("function") or {}
        part = {**call, "index": number, "function": {**function, "name": name or None}}
        if not is_new:
            part.pop("id", None)
        return [part]


def _joined(content: Any, refusal: Any) -> Any:
    return content + refusal if isinstance(content, str) and isinstance(refusal, str) else refusal


def _event(data: bytes) -> bytes:
    """Return an event with this data on one line: in JSON, a line's end is a blank."""
    return b"data: " + data.replace(b"\n", b" ") + b"\n\n"
