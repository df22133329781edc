"""What the fake provider says: chat completion chunks, made once and framed for HTTP/1.1."""

import re
from functools import cache
from typing import Any

import orjson

WORDS = ("lorem", "ipsum", "dolor", "sit", "amet", "elit", "sed", "tempor", "magna", "quis")
LAST_CHUNK = b"0\r\n\r\n"
TOKENS_PER_MESSAGE = 10


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse(value: Any) -> bytes:
    return http_chunk(b"data: " + orjson.dumps(value) + b"\n\n")


def frame(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return sse(
        {
            "id": "chatcmpl-fake",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "fake-1",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
    )


@cache
def words(count: int) -> tuple[bytes, ...]:
    """So many words, one chunk each."""
    pieces = text(count).split(" ")
    return tuple(
        frame({"content": word if index == 0 else " " + word}) for index, word in enumerate(pieces)
    )


def text(count: int) -> str:
    """The text of so many words."""
    return " ".join(WORDS[index % len(WORDS)] for index in range(count))


@cache
def tail(finish: str, messages: int, completion: int, usage: bool) -> tuple[bytes, ...]:
    """The finish, the usage and the end, always three chunks."""
    last = sse({"model": "fake-1", "choices": [], "usage": usage_of(messages, completion)})
    return (frame({}, finish), last if usage else http_chunk(b": nothing\n\n"), DONE)


def usage_of(messages: int, completion: int) -> dict[str, Any]:
    prompt = TOKENS_PER_MESSAGE * messages
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": TOKENS_PER_MESSAGE * max(0, messages - 2)},
    }


DONE = http_chunk(b"data: [DONE]\n\n") + LAST_CHUNK


def stream_chunks(name: str, request: dict[str, Any], default: int) -> list[bytes]:
    """The chunks of a whole answer; the last three are the finish, the usage and the end."""
    messages = request.get("messages", [])
    calls = tool_calls(name, request)
    if calls:
        deltas = [{"index": index, **call} for index, call in enumerate(calls)]
        body = [frame({"tool_calls": [delta]}) for delta in split_arguments(deltas)]
        return [*body, *tail("tool_calls", len(messages), len(calls), usage=True)]
    if name == "echo":
        parts = re.findall(r"\s*\S+\s*?", last_user_text(request))
        echoed = [frame({"content": part}) for part in parts]
        return [*echoed, *tail("stop", len(messages), len(parts), usage=True)]
    count = word_count(name, default)
    body = list(words(count))
    if name == "reasoning":
        body[:0] = [frame({"reasoning_content": part}) for part in ("Let me ", "think.")]
    return [*body, *tail("stop", len(messages), count, name != "no-usage")]


def word_count(name: str, default: int) -> int:
    found = re.match(r"words-(\d+)", name)
    return int(found[1]) if found else default


def split_arguments(deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A call's name and first half, then its second half, as real providers send them."""
    chunks = []
    for delta in deltas:
        function = delta["function"]
        half = len(function["arguments"]) // 2
        chunks.append(
            {**delta, "function": {**function, "arguments": function["arguments"][:half]}}
        )
        rest = {"arguments": function["arguments"][half:]}
        chunks.append({"index": delta["index"], "function": rest})
    return chunks


def tool_calls(name: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls to answer with, none when the tools have answered or there are none."""
    tools, messages = request.get("tools") or [], request.get("messages") or [{}]
    if not name.startswith("tool") or not tools or messages[-1].get("role") == "tool":
        return []
    count = int(name.partition("-")[2] or 1)
    chosen = [tools[index % len(tools)]["function"] for index in range(count)]
    return [
        {
            "id": f"call_{index}",
            "type": "function",
            "function": {
                "name": function["name"],
                "arguments": orjson.dumps(example(function.get("parameters") or {})).decode(),
            },
        }
        for index, function in enumerate(chosen)
    ]


def example(schema: dict[str, Any]) -> Any:
    """A value that the schema takes, in the simple schemas of tests."""
    for key in ("default", "const"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if schema.get(key):
            return schema[key][0]
    properties = schema.get("properties", {})
    values = {"integer": 1, "number": 1, "boolean": True, "array": [], "null": None}
    kind = schema.get("type", "object" if properties else "string")
    if kind == "object":
        return {key: example(properties[key]) for key in schema.get("required", properties)}
    return values.get(kind, "word")


def last_user_text(request: dict[str, Any]) -> str:
    for message in reversed(request.get("messages", [])):
        if message.get("role") == "user":
            return str(message.get("content", ""))
    return ""


def whole(request: dict[str, Any], default: int) -> dict[str, Any]:
    """The answer in one piece, for stream: false."""
    name, messages = str(request.get("model", "")), request.get("messages", [])
    calls = tool_calls(name, request)
    count = word_count(name, default)
    content = last_user_text(request) if name == "echo" else text(count)
    message: dict[str, Any] = {"role": "assistant", "content": None if calls else content}
    if calls:
        message["tool_calls"] = calls
    finish = "tool_calls" if calls else "stop"
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "fake-1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage_of(len(messages), len(calls) or count),
    }
