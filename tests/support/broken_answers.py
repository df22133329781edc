"""Providers' answers gone wrong: real ones, changed by a seeded generator that knows their form."""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

from tests.support.provider import Reply


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if levels % 2 else {"a": value}
    return value


VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 7, -1000, 1.5, -0.5, 9.0, 10**9 + 1, 10**18, -(10**18)),
    *(2**63, 2**64, 10**40, 1e308, float("nan"), float("inf")),
    *("", " ", "x", "5", "null", "[DONE]", "\0", "a\0b", "\ud83d", "\ude00", "\udce9", "\ufffe"),
    *("é😀", "x" * 5000, "{", "}", '{"id": "1"}', "[1]", "error", "stop", "length", "lookup"),
    *([], [[]], [1], [None], ["x"], {}, {"a": 1}, {"": None}, {"id": {"id": 1}}, {"\ud83d": "\0"}),
    *(_deep(70), _deep(301), {"error": {"message": "x"}}, {"message": "x", "code": 429}),
)
KEYS: Final = ("id", "index", "error", "choices", "delta", "content", "usage", "model", "x", "")
FRAMES: Final = (
    b"data: [DONE]\n\n",
    b"data: [DONE]  \n\n",
    b"data:\n\n",
    b"data\n\n",
    b": comment\n\n",
    b"event: error\ndata: no\n\n",
    b'data: {"error": "no"}\n\n',
    b'data: {"choices": [{"error": {"code": 400}}]}\n\n',
    b"data: nonsense\n\n",
    b"data: null\n\n",
    b"id: 1\nretry: 5\n\n",
    b"\xff\xfe\n\n",
    b"{}\n\n",
    b"\xef\xbb\xbf",
)
KINDS: Final = (
    "text/event-stream",
    "application/json",
    "text/html; charset=punycode",
    "text/plain; charset=idna",
    "",
)
HEADERS: Final = (
    "retry-after: -5",
    "retry-after: 1e999",
    "retry-after: 0",
    "retry-after: soon",
    "retry-after: 99999999999999999999",
    "retry-after: Mon, 99 Foo 99999 99:99:99 GMT",
    "retry-after-ms: nan",
    "content-encoding: gzip",
    "x-odd: \x80\xff",
)
STATUSES: Final = (201, 204, 302, 400, 401, 404, 408, 413, 418, 422, 429, 500, 503, 529, 599)


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    made = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "real-1"}
    return {**made, "choices": [choice]}


def _call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
    return _chunk(
        {"tool_calls": [{"index": index, "type": "function", **more, "function": function}]}
    )


USAGE: Final = {
    "prompt_tokens": 20,
    "completion_tokens": 4,
    "total_tokens": 24,
    "prompt_tokens_details": {"cached_tokens": 10},
}
TAIL: Final = {"model": "real-1", "choices": [], "usage": USAGE}
SIGNED: Final = {"google": {"thought_signature": "c2ln"}}
ANSWERS: Final[tuple[list[Any], ...]] = (
    [
        _chunk({"role": "assistant", "content": ""}),
        *(_chunk({"content": word}) for word in "abc"),
        _chunk({}, "stop"),
        TAIL,
    ],
    [
        _chunk({"reasoning_content": "Let me "}),
        _chunk({"reasoning_content": "see."}),
        _call(0, "", id="call_0", name="lookup", extra_content=SIGNED),
        _call(0, '{"id": "7"}'),
        _chunk({}, "tool_calls"),
        TAIL,
    ],
    [
        _call(0, '{"id": ', id="call_0", name="lookup"),
        _call(1, "{}", id="call_1", name="lookup"),
        _call(0, '"word"}'),
        _chunk({}, "tool_calls"),
        TAIL,
    ],
    [_chunk({"content": [{"type": "text", "text": "a"}]}), _chunk({"refusal": "b"}, "stop"), TAIL],
)
WHOLE: Final = {
    "id": "chatcmpl-1",
    "model": "real-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "All."}}],
    "usage": USAGE,
}
WHOLE["choices"][0]["finish_reason"] = "stop"  # type: ignore[index]
ERROR: Final = {"error": {"message": "Too much.", "type": "x", "param": None, "code": "y"}}


class Mutants:
    """Makes the mutant of a number; the same one each time."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def make(self, number: int) -> Reply:
        dice = random.Random(f"{self._seed}/{number}")
        kind = dice.choices(("stream", "whole", "error"), (80, 10, 10))[0]
        if kind == "stream":
            return self._stream(dice)
        value = json.loads(json.dumps(WHOLE if kind == "whole" else ERROR))
        for _ in range(dice.randint(1, 3)):
            value = _changed(dice, value)
        status = 200 if kind == "whole" and dice.random() < 0.8 else dice.choice(STATUSES)
        body = _encoded(dice, value)
        if dice.random() < 0.2:
            body = _broken(dice, body)
        return _reply(dice, body, "application/json", status)

    def _stream(self, dice: random.Random) -> Reply:
        chunks = json.loads(json.dumps(dice.choice(ANSWERS)))
        for _ in range(dice.choice((0, 1, 1, 1, 2, 4))):
            at = dice.randrange(len(chunks))
            chunks[at] = _changed(dice, chunks[at])
        for _ in range(dice.choice((0, 0, 1, 2))):
            _shuffled(dice, chunks)
        frames = [b"data: " + _encoded(dice, chunk) + b"\n\n" for chunk in chunks]
        if dice.random() < 0.8:
            frames.append(b"data: [DONE]\n\n")
        for _ in range(dice.choice((0, 0, 0, 1, 2))):
            frames.insert(dice.randint(0, len(frames)), dice.choice(FRAMES))
        body = _framed(dice, frames)
        if dice.random() < 0.2:
            body = _broken(dice, body)
        status = 200 if dice.random() < 0.97 else dice.choice(STATUSES)
        return _reply(dice, body, "text/event-stream", status)


def _reply(dice: random.Random, body: bytes, kind: str, status: int) -> Reply:
    size = dice.choice((1, 7, 64, len(body) + 1, len(body) + 1)) if len(body) < 3000 else len(body)
    parts = tuple(body[at : at + size] for at in range(0, len(body), size)) or (b"\n",)
    headers = f"{dice.choice(HEADERS)}\r\n" if dice.random() < 0.15 else ""
    if dice.random() < 0.05:
        kind = dice.choice(KINDS)
    return Reply(parts, kind, cut=dice.random() < 0.05, status=f"{status} Odd", headers=headers)


def _changed(dice: random.Random, value: Any) -> Any:
    """The value with one change somewhere in it."""
    if not isinstance(value, dict | list) or not value or dice.random() < 0.08:
        return _value(dice)
    key = dice.choice(list(value) if isinstance(value, dict) else list(range(len(value))))
    inner = value[key]
    if isinstance(inner, dict | list) and inner and dice.random() < 0.75:
        value[key] = _changed(dice, inner)
        return value
    changes: dict[str, Callable[[], None]] = {
        "swap": lambda: value.__setitem__(key, _value(dice)),
        "drop": lambda: value.__delitem__(key),
        "wrap": lambda: value.__setitem__(key, [inner]),
    }
    if isinstance(value, dict):
        changes["name"] = lambda: value.__setitem__(dice.choice(KEYS), value.pop(key))
        changes["add"] = lambda: value.__setitem__(dice.choice(KEYS), _value(dice))
    else:
        changes["twice"] = lambda: value.append(json.loads(json.dumps(inner)))
        changes["many"] = lambda: value.extend([inner] * 40)
    if isinstance(inner, str) and inner:
        cut = dice.randint(0, len(inner))
        changes["cut"] = lambda: value.__setitem__(key, inner[:cut])
        odd = dice.choice(("\ud83d", "\ude00", "\0", '"', "\\", "}", "é"))
        changes["spoil"] = lambda: value.__setitem__(key, inner[:cut] + odd + inner[cut:])
    if isinstance(inner, int):
        changes["grow"] = lambda: value.__setitem__(key, inner * dice.choice((-1, 10**6, 10**15)))
    changes[dice.choice(list(changes))]()
    return value


def _value(dice: random.Random) -> Any:
    """An odd value of its own, which later changes spoil in no other mutant."""
    return deepcopy(dice.choice(VALUES))


def _shuffled(dice: random.Random, chunks: list[Any]) -> None:
    at, to = dice.randrange(len(chunks)), dice.randrange(len(chunks))
    match dice.choice(("swap", "twice", "drop", "many")):
        case "swap":
            chunks[at], chunks[to] = chunks[to], chunks[at]
        case "twice":
            chunks.insert(to, chunks[at])
        case "many":
            chunks[to:to] = [chunks[at]] * 30
        case _ if len(chunks) > 1:
            del chunks[at]


def _encoded(dice: random.Random, value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=dice.random() < 0.8)
    if dice.random() < 0.05:  # a name that comes twice
        text = text.replace('"choices":', '"choices": 5, "choices":', 1)
    return text.encode("utf-8", "surrogatepass")


def _framed(dice: random.Random, frames: list[bytes]) -> bytes:
    body = b"".join(frames)
    ways: tuple[tuple[bytes, bytes], ...] = (
        (b"\n", b"\r\n"),
        (b"\n", b"\r"),
        (b"data: ", b"data:"),
        (b', "', b',\ndata: "'),
        (b"data: ", b"event: message\nid: 1\ndata: "),
        (b"\n\n", dice.choice((b"\n", b"\n\n\n\n", b""))),
    )
    if dice.random() < 0.6:
        return body
    bom = b"\xef\xbb\xbf" if dice.random() < 0.2 else b""
    return bom + body.replace(*dice.choice(ways))


def _broken(dice: random.Random, body: bytes) -> bytes:
    at = dice.randint(0, len(body))
    match dice.choice(("cut", "cut", "spoil", "hole")):
        case "cut":
            return body[:at]
        case "spoil":
            return (
                body[:at] + dice.choice((b"\xff", b"\x00", b"\xf0\x9f", b"\n\n", b"\r")) + body[at:]
            )
        case _:
            return body[:at] + body[at + dice.randint(1, 40) :]
