"""One execution as lines for a person."""

from collections.abc import Iterator
from shlex import quote
from typing import Any, Final

import orjson

from outlast.cli.output import shorten
from outlast.model.amount import amount

_LINE: Final = 200
"""Maximum characters of an argument or a result."""
_OUTPUT: Final = 4000
"""Maximum characters of the input and of the output; the rest with --json."""
_WIDTH: Final = 14
_REMEDIES: Final = {
    "internal_error": "outlast doctor",
    "model_unavailable": "outlast doctor",
    "tools_unavailable": "outlast doctor",
}
"""The command that tells more, by an error's code; `resume` retries any failed one."""


def described(execution: dict[str, Any]) -> Iterator[str]:
    """Yield a summary for a person: status, times, texts, calls, and commands to continue.

    execution: the object of the API.
    """
    yield from _head(execution)
    yield from _words("input", execution.get("input"))
    yield from _calls(execution)
    yield from _words("output", execution.get("output"))
    yield from _failure(execution)
    yield from _next(execution)


def _head(execution: dict[str, Any]) -> Iterator[str]:
    usage, timing = execution.get("usage") or {}, execution.get("timing") or {}
    agent = execution.get("agentName") or execution.get("agentId")
    tokens = usage.get("totalTokens")
    rows = {
        "id": execution["id"],
        "status": execution["status"],
        "agent": agent,
        "conversation": execution.get("conversationId"),
        "parent": execution.get("parentId"),
        "user": execution.get("user"),
        "metadata": _json(execution["metadata"]) if execution.get("metadata") else None,
        "created": execution.get("createdAt"),
        "started": execution.get("startedAt"),
        "ended": execution.get("completedAt"),
        "took": f"{timing['totalMs'] / 1000:.1f} s" if timing.get("totalMs") else None,
        "usage": f"{amount(tokens, 'token')}, {amount(execution.get('creditsUsed', 0), 'credit')}"
        if tokens
        else None,
    }
    for name, value in rows.items():
        if value not in (None, ""):
            yield f"{name:{_WIDTH}}{value}"
    if execution.get("isPurged"):
        yield f"{'content':{_WIDTH}}deleted for good"


def _words(name: str, text: str | None) -> Iterator[str]:
    if not text:
        return
    shown = text if len(text) <= _OUTPUT else f"{text[:_OUTPUT]}… (whole: --json)"
    first, *rest = shown.splitlines() or [""]
    yield f"{name:{_WIDTH}}{first}"
    for line in rest:
        yield f"{'':{_WIDTH}}{line}"


def _calls(execution: dict[str, Any]) -> Iterator[str]:
    for number, call in enumerate(execution.get("toolCalls") or ()):
        name = "tool calls" if number == 0 else ""
        result = shorten(_json(call["result"]), _LINE)
        mark = "✗" if call.get("isError") else "→"
        given = shorten(_json(call["parameters"]), _LINE)
        yield f"{name:{_WIDTH}}{call['name']} {given} {mark} {result}"


def _failure(execution: dict[str, Any]) -> Iterator[str]:
    if not (error := execution.get("error")):
        return
    yield from _words("error", f"{error['code']}: {error['message']}")
    if remedy := _REMEDIES.get(error["code"]):
        yield f"{'':{_WIDTH}}find out more: {remedy}"
    yield f"{'':{_WIDTH}}try again: outlast executions resume {execution['id']}"


def _next(execution: dict[str, Any]) -> Iterator[str]:
    """Yield the commands that decide what it waits for."""
    for call in execution.get("pendingApprovals") or ():
        why = "may have run: its outcome is unknown" if _is_unknown(call) else "needs an approval"
        given = shorten(_json(call["parameters"]), _LINE)
        yield f"{'waits for':{_WIDTH}}{call['name']} {given}: {why}"
        which = f"{execution['id']} {quote(call['toolCallId'])}"
        if _is_unknown(call):
            yield f"{'':{_WIDTH}}it ran: outlast approve {which} --result JSON"
            yield f"{'':{_WIDTH}}run it again: outlast approve {which}"
            yield f"{'':{_WIDTH}}give it up: outlast deny {which}"
        else:
            yield f"{'':{_WIDTH}}outlast approve {which}"
            yield f"{'':{_WIDTH}}outlast deny {which} --reason TEXT"
    for call in execution.get("pendingClientCalls") or ():
        given = shorten(_json(call["parameters"]), _LINE)
        yield f"{'waits for':{_WIDTH}}{call['name']} {given}: its client runs it"
        which = f"{execution['id']} {quote(call['toolCallId'])}"
        yield f"{'':{_WIDTH}}outlast executions answer {which} --result JSON"
    for call in execution.get("pendingInputs") or ():
        messages = "; ".join(one["message"] for one in call["questions"])
        yield f"{'waits for':{_WIDTH}}{call['name']}: {shorten(messages, _LINE)}"
        which = f"{execution['id']} {quote(call['toolCallId'])}"
        yield f"{'':{_WIDTH}}outlast executions answer {which} --accept JSON"
        yield f"{'':{_WIDTH}}outlast executions answer {which} --decline"
    if execution["status"] == "paused":
        yield f"{'go on':{_WIDTH}}outlast executions resume {execution['id']}"


def _is_unknown(call: dict[str, Any]) -> bool:
    return bool(call.get("kind") == "unknown_outcome")


def _json(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
