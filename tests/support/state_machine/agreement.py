"""What every room says of one execution, and whether it is the same.

agree(house, execution_id, memory) reads the log, the store and every room, and compares. The log is
read here once more, by a fold of this file's own, so that it is not the server that agrees with
itself. A memory keeps what was seen before: a stream only grows, what was charged never falls.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import orjson

from outlast.model.event import (
    ApprovalRequested,
    ApprovalResolved,
    Entry,
    Event,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionCreated,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionReleased,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    ModelFinished,
    ToolFinished,
    ToolStarted,
)
from outlast.model.execution import ModelStep, ToolStep
from outlast.rooms.runs.stream.formats import Format, fold
from outlast.rooms.runs.stream.frames import NumberedFrames
from tests.support.api import Api, frames

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


@dataclass(slots=True)
class Reading:
    """What a log says, read from its start."""

    status: str = "queued"
    models: dict[int, ModelFinished] = field(default_factory=dict)
    """Finished model steps that stand."""
    tools: dict[int, ToolFinished] = field(default_factory=dict)
    """Finished tool steps that stand."""
    charged: int = 0
    """Tokens of every finished model step and of every request that a pause has closed."""
    open: dict[str, ApprovalRequested] = field(default_factory=dict)
    """Questions without an answer."""
    requested: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each call that needed a decision runs with."""
    approved: set[str] = field(default_factory=set)
    calls: dict[int, str] = field(default_factory=dict)
    """Which call every number meant."""
    started: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What each call was started with, every time."""

    def add(self, event: Event) -> None:
        """Take the next event into account."""
        match event:
            case ModelFinished():
                self.models[event.step] = event
                self.charged += event.usage.total_tokens
            case ToolStarted():
                self._mean(event.step, event.tool_call_id)
                if event.tool_call_id in self.requested:
                    assert event.tool_call_id in self.approved
                    assert event.parameters == self.requested[event.tool_call_id]
                self.started.setdefault(event.tool_call_id, []).append(event.parameters)
            case ToolFinished():
                self.tools[event.step] = event
                self.open.pop(event.tool_call_id, None)
            case ApprovalRequested():
                self._mean(event.step, event.tool_call_id)
                self.open[event.tool_call_id] = event
                self.requested[event.tool_call_id] = event.parameters
                self.approved.discard(event.tool_call_id)
            case ApprovalResolved():
                self._resolve(event)
            case _:
                self._move(event)

    def _resolve(self, event: ApprovalResolved) -> None:
        del self.open[event.tool_call_id]
        if event.approved:
            self.approved.add(event.tool_call_id)
        if event.parameters is not None:
            self.requested[event.tool_call_id] = event.parameters

    def _mean(self, step: int, call_id: str) -> None:
        assert self.calls.setdefault(step, call_id) == call_id, "one number, two calls"

    def _move(self, event: Event) -> None:
        match event:
            case ExecutionCreated() | ExecutionReleased():
                self.status = "queued"
            case ExecutionStarted():
                self.status = "running"
            case ExecutionSuspended():
                self.status = "suspended" if self.open else "queued"
            case ExecutionPaused():
                self.status = "paused"
                self.charged += event.input_tokens + event.output_tokens
            case ExecutionResumed():
                self.status = "queued"
                self.open.clear()
                self.models = {n: e for n, e in self.models.items() if not event.voids(n)}
                self.tools = {n: e for n, e in self.tools.items() if not event.voids(n)}
            case ExecutionCompleted():
                self.status = "completed"
            case ExecutionFailed():
                self.status = "failed"
            case ExecutionCancelled():
                self.status = "cancelled"
            case _:
                pass


@dataclass(frozen=True, slots=True)
class Answers:
    """What every room answers."""

    id: str
    execution: dict[str, Any]
    run: dict[str, Any]
    event: dict[str, Any]
    task: dict[str, Any]
    checkpoints: list[dict[str, Any]]
    conversation: dict[str, Any]
    pending: list[dict[str, Any]]
    record: dict[str, Any]
    """With its children."""


async def agree(api: Api, execution_id: str, memory: Memory) -> Answers:
    """Compare everything that is said of an execution that does not move while this runs."""
    log = await api.core.services.executions.log(api.caller, execution_id)
    answers = await _hear(api, execution_id)
    reading = _read(log, memory)
    _agree_on_work(answers, reading)
    _agree_on_status(answers, reading)
    _agree_on_questions(answers, reading)
    _agree_on_what_was_kept(answers, memory)
    await _agree_on_steps(api, answers, reading)
    await _agree_on_streams(api, answers, log, memory)
    _agree_on_records(answers, log, reading)
    return answers


async def _hear(api: Api, execution_id: str) -> Answers:
    async def said(path: str, **params: Any) -> Any:
        answer = await api.get(path, **params)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    execution = await said(f"/v1/executions/{execution_id}")
    events = (await said("/v1/events", limit=200))["data"]
    pending = (await said("/v1/approvals", limit=100))["data"]
    return Answers(
        execution_id,
        execution,
        await said(f"/run/api/executions/{execution_id}"),
        next(event for event in events if event["id"] == execution_id),
        (await said(f"/v1/execution/{execution_id}"))["data"],
        (await said(f"/v1/executions/{execution_id}/checkpoints"))["data"],
        await said(f"/v1/conversations/{execution['conversationId']}"),
        [one for one in pending if one["executionId"] == execution_id],
        await said("/api/v1/executions/nestings", executionId=execution_id),
    )


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
    """Usage is that of the steps that stand; credits are those of everything that ever ran."""
    usage = answers.execution["usage"]
    used = [event.usage for event in reading.models.values()]
    assert usage == {
        "inputTokens": sum(one.input_tokens for one in used),
        "outputTokens": sum(one.output_tokens for one in used),
        "totalTokens": sum(one.total_tokens for one in used),
        "cacheReadTokens": sum(one.cache_read_tokens for one in used),
        "cacheWriteTokens": sum(one.cache_write_tokens for one in used),
        "estimated": any(one.estimated for one in used),
    }
    assert round(answers.execution["creditsUsed"] * 1000) == reading.charged
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
    if status in RESTS:
        assert reading.status == status
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


def _agree_on_questions(answers: Answers, reading: Reading) -> None:
    """What waits for a person in one room waits in all, and nothing waits where all has ended."""
    requested = sorted(
        (one["toolCallId"], one["name"], one["kind"], _plain(one["effectiveParameters"]))
        for one in answers.pending
    )
    shown = sorted(
        (one["toolCallId"], one["name"], one["kind"], _plain(one["parameters"]))
        for one in answers.execution["pendingApprovals"]
    )
    logged = sorted(
        (call, one.name, one.approval_kind, _plain(one.parameters))
        for call, one in reading.open.items()
    )
    assert requested == shown
    assert requested == ([] if answers.execution["status"] in ENDED else logged)
    assert bool(requested) or answers.execution["status"] != "suspended"


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
    assert record["creditsUsed"] == execution["creditsUsed"]
    assert record["endedAt"] == execution["completedAt"]
    assert record["startedAt"] == (execution["startedAt"] or execution["createdAt"])
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
    assert len(tools) == sum(isinstance(event, ToolFinished) for event in events)
    calls = [
        (one["toolName"], one["output"] if one["error"] is None else one["error"])
        for one in tools
        if not one["superseded"]
    ]
    assert sorted(map(_plain, calls)) == sorted(
        _plain((event.name, event.result)) for event in reading.tools.values()
    )


def _plain(value: Any) -> str:
    """JSON in one order of keys: Postgres keeps none."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _model_of(event: ModelFinished) -> tuple[str, int, int]:
    return event.finish_reason, event.input_tokens, event.output_tokens


def _model_in(detail: dict[str, Any]) -> tuple[str, int, int]:
    usage = detail["usage"]
    return detail["finishReason"], usage["inputTokens"], usage["outputTokens"]


async def _agree_on_steps(api: Api, answers: Answers, reading: Reading) -> None:
    """The store's steps, the conversation's turn and the checkpoints are those of the log."""
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
    mine = [turn for turn in answers.conversation["turns"] if turn["executionId"] == answers.id]
    assert [turn["role"] for turn in mine] == ["user", "assistant"][: len(mine)]
    answered = any(isinstance(step, ModelStep) for step in steps)
    assert len(mine) == 1 + answered
    if answered:
        assert mine[1]["content"] == (answers.execution["output"] or "")
        assert mine[1]["toolCalls"] == answers.execution["toolCalls"]


async def _agree_on_streams(api: Api, answers: Answers, log: list[Entry], memory: Memory) -> None:
    """Every format is what it was and more; where all has ended, so is every open stream."""
    ended = answers.execution["status"] in ENDED
    for format in Format:  # noqa: A001 - our word
        whole = b"".join(NumberedFrames(fold(format, answers.id, api.app.state.native)).add(log))
        before = memory.frames.get(format, b"")
        assert whole.startswith(before), format
        if ended and whole != before:
            path = f"/run/api/executions/{answers.id}/stream"
            assert (await api.get(path, format=format.value)).content == whole, format
        memory.frames[format] = whole
    if ended:
        native = memory.frames[Format.NATIVE]
        assert (await api.get(f"/v1/executions/{answers.id}/stream")).content == native
        spent = orjson.loads(memory.frames[Format.OPENAI].split(b"data: ")[-2].split(b"\n")[0])[
            "usage"
        ]
        usage = answers.execution["usage"]
        assert spent["prompt_tokens"] == usage["inputTokens"]
        assert spent["completion_tokens"] == usage["outputTokens"]
        _, last = frames(native)[-1]
        assert last["type"] == ("error" if answers.execution["status"] == "failed" else "done")
        assert last["execution"] == answers.execution
