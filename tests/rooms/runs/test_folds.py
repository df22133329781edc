"""The folds of the runs room: frames are a function of the log alone, in every format."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from outlast.model.event import (
    Entry,
    Event,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionReleased,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    TextAdded,
    expand,
)
from outlast.rooms.executions.stream import Fold
from outlast.rooms.runs.stream.formats import Format, fold
from outlast.rooms.runs.stream.frames import NumberedFrames
from outlast.rooms.runs.stream.openai import CONTENT_TYPES
from outlast.rooms.runs.stream.ui import CHUNK_TYPES
from tests.support import event_logs

EVERY = [
    pytest.param(each, log, id=f"{each.value}-{name}")
    for each in Format
    for name, log in event_logs.ALL.items()
]


def numbered(format: Format) -> NumberedFrames:
    return NumberedFrames(fold(format, event_logs.ID, Fold))


def data(frame: bytes) -> Any:
    """What a frame says, read as JSON where it is."""
    text = frame.partition(b"\ndata: ")[2].strip()
    return "[DONE]" if text == b"[DONE]" else orjson.loads(text)


def chunks(log: Iterable[Entry], format: Format = Format.UI) -> list[Any]:
    return [data(frame) for frame in numbered(format).add(log)]


def kinds(log: Iterable[Entry]) -> list[str]:
    return [chunk["type"] for chunk in chunks(log)]


def contents(log: Iterable[Entry]) -> list[str]:
    """The `delta.content` of every completion chunk that has any."""
    found = [c for c in chunks(log, Format.OPENAI) if c != "[DONE]"]
    deltas = [c["choices"][0]["delta"] for c in found]
    return [delta["content"] for delta in deltas if delta.get("content")]


def json_contents(log: Iterable[Entry]) -> list[Any]:
    """The JSON strings among the contents."""
    return [orjson.loads(text) for text in contents(log) if text.startswith('{"type"')]


def called(log: Iterable[Entry]) -> list[Any]:
    """The `delta.tool_calls`, in their order."""
    found = [c for c in chunks(log, Format.OPENAI) if c != "[DONE]"]
    return [call for c in found for call in c["choices"][0]["delta"].get("tool_calls", ())]


# --- every format


@pytest.mark.parametrize(("format", "log"), EVERY)
def test_a_frame_s_index_never_moves_however_the_log_came(
    format: Format, log: Sequence[Entry]
) -> None:
    whole = numbered(format).add(log)
    for cut in range(len(log) + 1):
        live = numbered(format)
        seen = [frame for entry in log[:cut] for frame in live.add([entry])]
        assert live.count == len(seen)
        assert seen == whole[: len(seen)]
        assert seen + live.add(log[cut:]) == whole


@pytest.mark.parametrize("format", [Format.OPENAI, Format.UI])
@pytest.mark.parametrize("log", event_logs.ALL.values(), ids=event_logs.ALL)
def test_a_frame_s_id_is_its_index(format: Format, log: Sequence[Entry]) -> None:
    for index, frame in enumerate(numbered(format).add(log)):
        assert frame.startswith(b"id: %d\ndata: " % index)
        assert frame.endswith(b"\n\n")
        assert frame.count(b"\n") == 3


def test_the_native_frames_are_those_of_the_main_room() -> None:
    for log in event_logs.ALL.values():
        assert b"".join(numbered(Format.NATIVE).add(log)) == Fold(event_logs.ID).frames(log)


def test_text_that_is_kept_in_one_row_makes_the_frames_of_its_pieces() -> None:
    said = TextAdded(1, 0, ("Hel", "lo"))
    one_row = [
        *event_logs.SIMPLE[:2],
        Entry(1, 4, event_logs.SIMPLE[2].at, said),
        *event_logs.SIMPLE[4:],
    ]
    for each in Format:
        assert numbered(each).add(expand(one_row)) == numbered(each).add(event_logs.SIMPLE)


MIDDLES = st.sampled_from(
    [entry.event for log in event_logs.ALL.values() for entry in log[1:-1]]
    + [ExecutionPaused(), ExecutionReleased(), ExecutionResumed("cp_9", 2)]
)
ENDS = st.sampled_from(
    [ExecutionCompleted(), ExecutionCancelled(), ExecutionFailed("t", "c", "No.")]
)


@given(st.lists(MIDDLES, max_size=20), ENDS)
def test_any_log_keeps_the_grammar_of_the_formats(body: list[Event], end: Event) -> None:
    log = event_logs.log(event_logs.created(), *body, end)
    spoken = chunks(log)
    open_parts: set[str] = set()
    in_step = False
    for chunk in spoken:
        match chunk["type"].split("-"):
            case ["start", "step"] | ["finish", "step"]:
                assert in_step is (chunk["type"] == "finish-step")
                assert not open_parts
                in_step = not in_step
            case ["text" | "reasoning", "start"]:
                assert in_step
                assert not open_parts
                open_parts.add(chunk["id"])
            case ["text" | "reasoning", "delta"]:
                assert open_parts == {chunk["id"]}
            case ["text" | "reasoning", "end"]:
                open_parts.remove(chunk["id"])
            case ["finish" | "abort" | "error"]:
                assert not in_step
            case _:
                assert not open_parts
    assert {chunk["type"] for chunk in spoken} <= set(CHUNK_TYPES)
    assert (spoken[0]["type"], spoken[-1]["type"]) == ("start", "finish")
    assert {chunk["type"] for chunk in json_contents(log)} <= set(CONTENT_TYPES)
    assert chunks(log, Format.OPENAI)[-1] == "[DONE]"


# --- ui


def test_ui_a_run_in_chunks() -> None:
    known = {"executionId": event_logs.ID, "conversationId": "conv_1"}
    assert chunks(event_logs.SIMPLE) == [
        {"type": "start", "messageId": event_logs.ID, "messageMetadata": known},
        {"type": "start-step"},
        {"type": "text-start", "id": "1"},
        {"type": "text-delta", "id": "1", "delta": "Hel"},
        {"type": "text-delta", "id": "1", "delta": "lo"},
        {"type": "text-end", "id": "1"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
    ]


def test_ui_reasoning_and_text_are_parts_of_their_own() -> None:
    spoken = chunks(event_logs.THINKING)
    starts = [c["type"] + c["id"] for c in spoken if c["type"].endswith("-start")]
    assert starts == ["reasoning-start1", "text-start2", "reasoning-start3", "text-start4"]
    assert spoken[-1] == {"type": "finish", "finishReason": "length"}


def test_ui_an_approved_call_is_requested_then_shown_as_edited_then_answered() -> None:
    spoken = [c for c in chunks(event_logs.APPROVAL) if c.get("toolCallId") == "tc_2"]
    shown = {"type": "tool-input-available", "toolCallId": "tc_2", "toolName": "refund"}
    assert spoken == [
        shown | {"input": {"amount": 5}},
        {"type": "tool-approval-request", "approvalId": "tc_2", "toolCallId": "tc_2"},
        shown | {"input": {"amount": 4}},
        {"type": "tool-output-available", "toolCallId": "tc_2", "output": "done"},
    ]


def test_ui_a_denied_call_has_no_other_output_and_an_error_is_text() -> None:
    spoken = chunks(event_logs.DENIAL)
    assert [c["type"] for c in spoken if c.get("toolCallId") == "tc_1"] == [
        "tool-input-available",
        "tool-approval-request",
        "tool-output-denied",
    ]
    error = {"type": "tool-output-error", "toolCallId": "tc_2", "errorText": '{"why":1}'}
    assert error in spoken


def test_ui_a_step_that_runs_again_says_so_and_begins_a_new_text_part() -> None:
    spoken = chunks(event_logs.CRASH)
    place = spoken.index({"type": "data-retry", "data": {"step": 1, "steps": [1]}})
    assert spoken[place - 1] == {"type": "text-end", "id": "1"}
    assert spoken[place + 1] == {"type": "text-start", "id": "2"}
    assert kinds(event_logs.CRASH).count("start-step") == 2
    found = [c["type"] for c in spoken if c.get("toolCallId") == "tc_1"]
    assert found == ["tool-input-available", "tool-approval-request", "tool-output-available"]


def test_ui_an_approval_of_another_kind_says_which() -> None:
    spoken = chunks(event_logs.CRASH)
    place = [c["type"] for c in spoken].index("tool-approval-request")
    kind = {"toolCallId": "tc_1", "kind": "unknown_outcome"}
    assert spoken[place - 1] == {"type": "data-approval", "data": kind}
    assert "data-approval" not in kinds(event_logs.APPROVAL)


def test_ui_a_roll_back_names_what_is_void_once_and_shows_its_calls_again() -> None:
    spoken = chunks(event_logs.ROLL_BACK)
    void = [c["data"]["steps"] for c in spoken if c["type"] == "data-retry"]
    assert void == [[3, 4], [2, 3, 5]]
    behind = spoken[spoken.index({"type": "data-retry", "data": {"step": 2, "steps": void[1]}}) :]
    assert [c["type"] for c in behind[1:4]] == [
        "start-step",
        "tool-input-available",
        "tool-output-available",
    ]
    assert kinds(event_logs.ROLL_BACK).count("finish") == 3


@pytest.mark.parametrize(
    ("log", "end"),
    [
        (event_logs.FAILURE, [{"type": "error", "errorText": "The provider is down."}, "error"]),
        (event_logs.REFUSAL, [{"type": "error", "errorText": "No model."}, "error"]),
        (event_logs.CANCEL, [{"type": "abort"}, "other"]),
    ],
    ids=["failure", "refusal", "cancel"],
)
def test_ui_the_end_is_always_finish(log: Sequence[Entry], end: list[Any]) -> None:
    assert chunks(log)[-2:] == [end[0], {"type": "finish", "finishReason": end[1]}]


# --- openai


def test_openai_a_run_in_chunks() -> None:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {
            "id": event_logs.ID,
            "object": "chat.completion.chunk",
            "created": 1772000000,
            "model": "agt_1",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }

    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    assert chunks(event_logs.SIMPLE, Format.OPENAI) == [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop") | {"usage": usage},
        "[DONE]",
    ]


@pytest.mark.parametrize("log", event_logs.ALL.values(), ids=event_logs.ALL)
def test_openai_s_own_type_takes_every_chunk(log: Sequence[Entry]) -> None:
    for chunk in chunks(log, Format.OPENAI)[:-1]:
        if chunk != "[DONE]" and "error" not in chunk:
            assert ChatCompletionChunk.model_validate(chunk, strict=True).id == event_logs.ID


def test_openai_a_call_is_its_name_and_then_its_arguments() -> None:
    assert called(event_logs.APPROVAL) == [
        {
            "index": 0,
            "id": "tc_1",
            "type": "function",
            "function": {"name": "refund", "arguments": ""},
        },
        {"index": 0, "function": {"arguments": '{"order":1}'}},
        {
            "index": 1,
            "id": "tc_2",
            "type": "function",
            "function": {"name": "refund", "arguments": ""},
        },
        {"index": 1, "function": {"arguments": '{"amount":5}'}},
    ]


def test_openai_an_approval_of_a_call_that_was_shown_shows_it_no_more() -> None:
    assert [c["index"] for c in called(event_logs.CRASH)] == [0, 0]
    (request,) = (
        c for c in json_contents(event_logs.CRASH) if c["type"] == "tool-approval-request"
    )
    assert (request["toolCallId"], request["kind"]) == ("tc_1", "unknown_outcome")


def test_openai_a_call_that_was_rolled_back_comes_again_under_a_new_index() -> None:
    firsts = [(c["index"], c["id"]) for c in called(event_logs.ROLL_BACK) if "id" in c]
    assert firsts == [(0, "tc_1"), (1, "tc_2"), (2, "tc_2"), (3, "tc_1")]


@pytest.mark.parametrize("log", event_logs.ALL.values(), ids=event_logs.ALL)
def test_openai_s_own_accumulator_reads_every_call_whole(log: Sequence[Entry]) -> None:
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in chunks(log, Format.OPENAI)[:-1]:
        if chunk != "[DONE]" and "error" not in chunk:
            state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    message = state.current_completion_snapshot.choices[0].message
    found = [
        (call.id, call.function.name, orjson.loads(call.function.arguments))
        for call in message.tool_calls or ()
    ]
    shown = [c for c in chunks(log) if c["type"] == "tool-input-available"]
    edited = [c for c in json_contents(log) if c["type"] == "tool-input-available"]
    assert found == [
        (c["toolCallId"], c["toolName"], c["input"])
        for c in shown
        if c["input"] not in [e["input"] for e in edited]
    ]


def test_openai_results_and_decisions_are_json_in_the_content() -> None:
    assert [c["type"] for c in json_contents(event_logs.APPROVAL)] == [
        "tool-approval-request",
        "tool-output-available",
        "tool-approval-response",
        "tool-input-available",
        "tool-output-available",
    ]
    (denial, *_) = (
        c for c in json_contents(event_logs.DENIAL) if c["type"] == "tool-approval-response"
    )
    assert denial == {
        "type": "tool-approval-response",
        "approvalId": "tc_1",
        "toolCallId": "tc_1",
        "approved": False,
        "reason": "Too much.",
    }
    assert "".join(contents(event_logs.APPROVAL)[:2]) == "Let me see."


def test_openai_what_is_void_is_shown() -> None:
    assert {"type": "step-retried", "step": 1, "steps": [1]} in json_contents(event_logs.CRASH)
    void = [c["steps"] for c in json_contents(event_logs.ROLL_BACK) if c["type"] == "step-retried"]
    assert void == [[3, 4], [2, 3, 5]]


def test_openai_the_usage_is_that_of_the_steps_that_stand() -> None:
    spoken = [c for c in chunks(event_logs.ROLL_BACK, Format.OPENAI) if c != "[DONE]"]
    native = [c for c in chunks(event_logs.ROLL_BACK, Format.NATIVE) if c["type"] == "done"]
    assert [c["usage"]["total_tokens"] for c in spoken if "usage" in c] == [
        done["usage"]["totalTokens"] for done in native
    ]


def test_openai_a_failure_is_an_error_that_clients_raise_and_a_cancel_says_abort() -> None:
    failed, done = chunks(event_logs.FAILURE, Format.OPENAI)[-2:]
    assert done == "[DONE]"
    assert failed["choices"][0]["finish_reason"] == "error"
    assert failed["error"] == {
        "message": "The provider is down.",
        "type": "upstream_error",
        "param": None,
        "code": "model_unavailable",
    }
    assert json_contents(event_logs.CANCEL) == [{"type": "abort"}]


def test_starts_and_waits_are_no_frames() -> None:
    silent: list[Event] = [
        ExecutionStarted(),
        ExecutionSuspended(),
        ExecutionPaused(),
        ExecutionReleased(),
    ]
    for each in (Format.OPENAI, Format.UI):
        assert len(numbered(each).add(event_logs.log(event_logs.created(), *silent))) == 1
