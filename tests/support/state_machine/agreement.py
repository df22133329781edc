"""What every room says of one execution, and whether it is the same.

agree(api, row, memory, lists) reads the log, the store and every room, and compares. The log is
read here once more, by a fold of the tests' own (`reading`), so that it is not the server that
agrees with itself. A memory keeps what was seen before: a stream only grows, what was charged never
falls.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import orjson

from outlast.model.event import (
    Entry,
    ExecutionPaused,
    ModelFinished,
    ToolFinished,
)
from outlast.model.execution import Execution, ModelStep, ToolStep
from outlast.rooms.runs.stream.formats import Format, fold
from outlast.rooms.runs.stream.frames import NumberedFrames
from tests.support.api import Api, frames
from tests.support.state_machine.answers import Answers, Lists, plain, read_answers
from tests.support.state_machine.reading import Reading
from tests.support.state_machine.tools import BY_CLIENT

WORDS: Final = {
    "queued": ("PENDING", "running", "running"),
    "running": ("RUNNING", "running", "running"),
    "suspended": ("RUNNING", "paused", "suspended"),
    "paused": ("RUNNING", "paused", "suspended"),
    "completed": ("COMPLETED", "completed", "completed"),
    "failed": ("FAILED", "failed", "failed"),
    "cancelled": ("FAILED", "terminated", "failed"),
}
"""Our status, and how the rooms background, tasks and runs write it; from the contract's table."""
NANO: Final = 1_000_000_000
ENDED: Final = frozenset({"completed", "failed", "cancelled"})
RESTS: Final = ENDED | {"suspended", "paused"}
_SPENT: Final = {"usage": None, "creditsUsed": None}
"""What children may still spend that are being cancelled when their parent has ended."""
_CUT_OFF: Final = frozenset({"cancelled", "error"})


@dataclass(slots=True)
class Memory:
    """What was seen of one execution before."""

    log: list[Entry] = field(default_factory=list)
    frames: dict[Format, bytes] = field(default_factory=dict)
    superseded: set[str] = field(default_factory=set)
    """Checkpoints."""
    credits: float = 0.0
    elapsed: int = 0
    started: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What each tool call was started with, every time."""


async def agree(api: Api, row: Execution, memory: Memory, lists: Lists) -> Answers:
    """Compare everything that is said of an execution that does not move while this runs."""
    log = await api.core.services.executions.log(api.caller, row.id)
    answers = await read_answers(api, row, lists)
    reading = _read(log, memory)
    _agree_on_work(answers, reading)
    _agree_on_status(answers, reading)
    _agree_on_questions(answers, reading)
    _agree_on_client_calls(answers, reading)
    _agree_on_what_was_kept(answers, memory)
    await _agree_on_steps(api, answers, reading)
    await _agree_on_streams(api, answers, log, memory, frozenset(reading.answered))
    _agree_on_records(answers, log, reading)
    return answers


def _read(log: list[Entry], memory: Memory) -> Reading:
    """The log is gapless, ordered, and what it was and more."""
    assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
    segments = [entry.segment for entry in log]
    assert segments == sorted(segments)
    assert log[: len(memory.log)] == memory.log
    memory.log = log
    reading = Reading()
    for entry in log:
        reading.add(entry.event)
    memory.started = reading.started
    return reading


def _agree_on_work(answers: Answers, reading: Reading) -> None:
    """Usage is that of the steps that stand; credits are those of everything that ever ran.

    Both with those of the children, on all levels.
    """
    usage = answers.execution["usage"]
    used = [event.usage for event in reading.models.values()]
    below = [child["usage"] for child in answers.children]
    expected = {
        "inputTokens": sum(one.input_tokens for one in used),
        "outputTokens": sum(one.output_tokens for one in used),
        "totalTokens": sum(one.total_tokens for one in used),
        "cacheReadTokens": sum(one.cache_read_tokens for one in used),
        "cacheWriteTokens": sum(one.cache_write_tokens for one in used),
    }
    expected = {name: n + sum(one[name] for one in below) for name, n in expected.items()}
    charged = reading.charged + sum(round(c["creditsUsed"] * 1000) for c in answers.children)
    if answers.whole:
        estimated = [one.estimated for one in used] + [one["estimated"] for one in below]
        assert usage == expected | {"estimated": any(estimated)}
        assert round(answers.execution["creditsUsed"] * 1000) == charged
    else:
        assert all(usage[name] >= least for name, least in expected.items())
        assert round(answers.execution["creditsUsed"] * 1000) >= charged
    calls = [
        (call["id"], call["name"], call["result"], call["isError"])
        for call in answers.execution["toolCalls"]
    ]
    assert calls == [
        (event.tool_call_id, event.name, event.result, event.is_error)
        for _, event in sorted(reading.tools.items())
    ]


def _agree_on_status(answers: Answers, reading: Reading) -> None:
    status = answers.execution["status"]
    assert (answers.event["status"], answers.task["status"], answers.run["status"]) == WORDS[status]
    assert answers.event["detail"] == status
    logged = reading.status
    asks = reading.open or reading.client or _asks_below(answers)
    if logged == "suspended" and not asks:
        logged = "running"  # it waits for a child, which no person and no client holds up
    if status in RESTS or logged in RESTS:
        assert logged == status
    ends = {
        answers.execution["completedAt"],
        answers.event["completedAt"],
        answers.task["completed_at"],
    }
    assert len(ends) == 1
    assert (answers.event["completedAt"] is not None) is (status in ENDED)
    assert answers.run["updatedAt"] == answers.event["updatedAt"] == answers.task["updated_at"]
    assert answers.event["output"] == answers.execution["output"]
    assert (answers.execution["error"] is not None) is (status == "failed")


def _asks_below(answers: Answers) -> bool:
    return any(child["status"] == "suspended" for child in answers.children)


def _agree_on_questions(answers: Answers, reading: Reading) -> None:
    """What waits for a person in one room waits in all, and nothing waits where all has ended."""
    requested = sorted(
        (one["toolCallId"], one["name"], one["kind"], plain(one["effectiveParameters"]))
        for one in answers.pending
    )
    shown = sorted(
        (one["toolCallId"], one["name"], one["kind"], plain(one["parameters"]))
        for one in answers.execution["pendingApprovals"]
    )
    logged = sorted(
        (call, one.name, one.approval_kind, plain(one.parameters))
        for call, one in reading.open.items()
    )
    own = sorted(
        (one["toolCallId"], one["name"], one["kind"], plain(one["effectiveParameters"]))
        for one in answers.pending
        if one["executionId"] == answers.id
    )
    assert requested == shown
    assert own == ([] if answers.execution["status"] in ENDED else logged)
    if answers.execution["parentId"] is None and answers.execution["status"] not in ENDED:
        below = {one["toolCallId"] for one in answers.pending} - reading.open.keys()
        assert below == reading.below.keys()
    assert requested or answers.client or answers.execution["status"] != "suspended"


def _agree_on_client_calls(answers: Answers, reading: Reading) -> None:
    """What the client is to do is in the log and shown, also at all executions above."""
    ended = answers.execution["status"] in ENDED
    own = [one for one in answers.client if "executionId" not in one]
    logged = [] if ended else list(reading.client.items())
    assert sorted(
        (one["toolCallId"], one["name"], plain(one["parameters"]), plain(one.get("questions")))
        for one in own
    ) == sorted((call, one.name, plain(one.parameters), plain(one.input)) for call, one in logged)
    below = {one["toolCallId"]: one["executionId"] for one in answers.client if one not in own}
    assert below == ({} if ended else answers.client_below)
    if answers.execution["parentId"] is None and not ended:
        logged_below = {call: one.execution_id for call, one in reading.client_below.items()}
        assert below == logged_below
    for event in reading.tools.values():
        if event.name in BY_CLIENT and not event.is_error:
            assert event.result["call"] == event.tool_call_id


def _agree_on_what_was_kept(answers: Answers, memory: Memory) -> None:
    """Checkpoints stay, superseded ones superseded; credits and active time never fall."""
    kept = [(one["id"], one["superseded"]) for one in answers.checkpoints]
    assert kept == [(one["id"], one["superseded"]) for one in answers.task["checkpoints"]]
    superseded = {point for point, gone in kept if gone}
    assert memory.superseded <= superseded
    memory.superseded = superseded
    assert answers.execution["creditsUsed"] >= memory.credits
    memory.credits = answers.execution["creditsUsed"]
    assert answers.task["elapsed_seconds"] >= memory.elapsed
    memory.elapsed = answers.task["elapsed_seconds"]


def _agree_on_records(answers: Answers, log: list[Entry], reading: Reading) -> None:
    """The tree holds what stands, what is superseded and what was closed, and adds up exactly."""
    record, execution = answers.record, answers.execution
    assert record["status"] == {"suspended": "waiting"}.get(
        execution["status"], execution["status"]
    )
    agentic = [child for child in record["children"] if child["isAgentic"]]
    assert sorted(map(plain, agentic)) == sorted(map(plain, answers.records.values()))
    if answers.whole:
        assert record["creditsUsed"] == execution["creditsUsed"]
    assert record["endedAt"] == execution["completedAt"]
    assert record["startedAt"] == (execution["startedAt"] or execution["createdAt"])
    if not answers.below and answers.whole:
        assert record["detail"]["usage"] == execution["usage"]
    assert record["detail"]["output"] == execution["output"]
    children = record["children"]
    parts = [round(child["creditsUsed"] * NANO) for child in children]
    assert sum(parts) == round(record["creditsUsed"] * NANO)
    events = [entry.event for entry in log]
    models = [_model_of(event) for event in events if isinstance(event, ModelFinished)]
    closed = [event for event in events if isinstance(event, ExecutionPaused) and event.credits]
    found = [child["detail"] for child in children if child["detail"]["type"] == "model"]
    assert sorted(map(_model_in, found)) == sorted(
        models + [("paused", one.input_tokens, one.output_tokens) for one in closed]
    )
    stand = [one for one in found if not one["superseded"]]
    assert sorted(map(_model_in, stand)) == sorted(map(_model_of, reading.models.values()))
    tools = [child["detail"] for child in children if child["detail"]["type"] == "tool"]
    own = [e for e in events if isinstance(e, ToolFinished) and e.execution_id is None]
    assert len(tools) == len(own)
    calls = [
        (one["toolName"], one["output"] if one["error"] is None else one["error"])
        for one in tools
        if not one["superseded"]
    ]
    assert sorted(map(plain, calls)) == sorted(
        plain((event.name, event.result)) for event in reading.tools.values()
    )


def _model_of(event: ModelFinished) -> tuple[str, int, int]:
    return event.finish_reason, event.input_tokens, event.output_tokens


def _model_in(detail: dict[str, Any]) -> tuple[str, int, int]:
    usage = detail["usage"]
    return detail["finishReason"], usage["inputTokens"], usage["outputTokens"]


async def _agree_on_steps(api: Api, answers: Answers, reading: Reading) -> None:
    """The store's steps, the conversation's turn and the checkpoints are those of the log."""
    if answers.conversation is None:
        steps = await api.core.store.executions.steps(api.caller.workspace_id, answers.id)
    else:
        found = await api.core.services.conversations.get(
            api.caller, answers.execution["conversationId"]
        )
        (steps,) = (turn.steps for turn in found.turns if turn.execution.id == answers.id)
    tools = {step.number: step.call.id for step in steps if isinstance(step, ToolStep)}
    assert tools == {n: event.tool_call_id for n, event in reading.tools.items()}
    models = {
        step.number: step.usage
        for step in steps
        if isinstance(step, ModelStep) and (step.model or step.number in reading.models)
    }
    assert models == {n: event.usage for n, event in reading.models.items()}
    stand = await api.core.services.executions.checkpoints(api.caller, answers.id)
    covered = [
        {step.number for step in steps if point.covers(step.number)}
        for point in stand
        if not point.superseded
    ]
    whole = {
        step.number
        for step in steps
        if not (isinstance(step, ModelStep) and step.finish_reason in _CUT_OFF)
    }
    assert (covered[-1] if covered else set()) == whole
    plain = [point for point in stand if not point.superseded and point.label is None]
    assert len(plain) == len(whole)
    assert all(less <= more for less, more in pairwise(covered))
    if answers.conversation is None:
        return
    mine = [turn for turn in answers.conversation["turns"] if turn["executionId"] == answers.id]
    assert [turn["role"] for turn in mine] == ["user", "assistant"][: len(mine)]
    answered = any(isinstance(step, ModelStep) for step in steps)
    assert len(mine) == 1 + answered
    if answered:
        assert mine[1]["content"] == (answers.execution["output"] or "")
        assert mine[1]["toolCalls"] == answers.execution["toolCalls"]


async def _agree_on_streams(
    api: Api, answers: Answers, log: list[Entry], memory: Memory, answered: frozenset[str]
) -> None:
    """Every format is what it was and more; where all has ended, so is every open stream.

    `answered`: the calls that a chat which reads it again is not to run again.
    """
    ended = answers.execution["status"] in ENDED
    own = api.app.state.main.surface.fold
    for format in Format:  # noqa: A001 - our word
        whole = b"".join(NumberedFrames(fold(format, answers.id, own)).add(log))
        before = memory.frames.get(format, b"")
        assert whole.startswith(before), format
        if ended and whole != before:
            path = f"/run/api/executions/{answers.id}/stream"
            again = b"".join(NumberedFrames(fold(format, answers.id, own, answered)).add(log))
            assert (await api.get(path, format=format.value)).content == again, format
        memory.frames[format] = whole
    if ended:
        native = memory.frames[Format.NATIVE]
        assert (await api.get(f"/v1/executions/{answers.id}/stream")).content == native
        spent = orjson.loads(memory.frames[Format.OPENAI].split(b"data: ")[-2].split(b"\n")[0])[
            "usage"
        ]
        usage = answers.execution["usage"]
        assert spent["prompt_tokens"] <= usage["inputTokens"]
        assert spent["completion_tokens"] <= usage["outputTokens"]
        _, last = frames(native)[-1]
        assert last["type"] == ("error" if answers.execution["status"] == "failed" else "done")
        later = {} if answers.whole and not answers.below else _SPENT
        shown = last["execution"]
        if answers.execution.get("superseded"):  # by its parent's roll-back, behind its end
            shown = shown | {"superseded": True}
        assert shown | later == answers.execution | later
        assert shown["creditsUsed"] <= answers.execution["creditsUsed"]
        if not later:
            assert spent["total_tokens"] == usage["totalTokens"]
