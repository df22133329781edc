"""What the messages of a request come to."""

from typing import Any

import pytest

from outlast.http.body import body_as
from outlast.model.error import InvalidField, InvalidRequest, MissingField
from outlast.rooms.runs.routes.messages import INSTRUCTION, Answered, RunInput, read
from outlast.rooms.runs.schemas import RunBody


def read_from(*messages: dict[str, Any], message_id: str | None = None) -> RunInput:
    return read(body_as(RunBody, {"messages": list(messages)}).messages, message_id)


def text(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def parts(role: str, *given: dict[str, Any], id: str = "m1") -> dict[str, Any]:
    return {"id": id, "role": role, "parts": list(given)}


def answer(call: str, state: str = "approval-responded", **approval: Any) -> dict[str, Any]:
    return {"type": "tool-refund", "toolCallId": call, "state": state, "approval": approval}


def test_the_last_user_message_is_the_input_and_a_first_system_message_adds_instructions() -> None:
    found = read_from(
        text("system", "Be brief."),
        text("user", "Hi"),
        text("assistant", "Hello"),
        text("user", "How are you?"),
        text("assistant", None),
    )
    assert found == RunInput("How are you?", "Be brief.", (), None, in_parts=False)
    assert read_from(text("user", "Hi"), text("system", "Late.")).instructions == ""


def test_content_may_be_parts_and_so_may_the_ai_sdk_s_messages() -> None:
    said = [{"type": "text", "text": "How "}, {"type": "text", "text": "are you?"}]
    assert read_from(text("user", said)) == RunInput("How are you?", "", (), None, in_parts=False)
    assert read_from(parts("user", *said, {"type": "data-x", "data": 1})).in_parts
    assert read_from(parts("user", *said)).input == "How are you?"


def test_instructions_alone_are_carried_out() -> None:
    assert read_from(text("system", "Tidy up.")) == RunInput(
        INSTRUCTION, "Tidy up.", (), None, False
    )


@pytest.mark.parametrize(
    "messages",
    [
        [text("assistant", "Hi")],
        [text("user", "")],
        [text("user", "Hi"), text("user", [])],
        [text("system", "")],
        [parts("user", {"type": "text"})],
    ],
)
def test_without_any_text_a_message_is_missing(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(MissingField):
        read_from(*messages)


@pytest.mark.parametrize("kind", ["file", "image_url", "input_audio"])
def test_what_would_be_lost_is_refused(kind: str) -> None:
    with pytest.raises(InvalidField, match=kind):
        read_from(text("user", [{"type": "text", "text": "See:"}, {"type": kind, "url": "x"}]))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": "Hi"},
        {"messages": [{"content": "Hi"}]},
        {"messages": [{"role": "owner", "content": "Hi"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": "Hi"}], "forwardedHeaders": {"a": 1}},
        {"messages": [{"role": "user", "content": "Hi"}], "id": ""},
    ],
)
def test_a_body_of_the_wrong_shape_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises((InvalidField, InvalidRequest)):
        body_as(RunBody, body)


def test_answers_in_the_last_assistant_message_are_decisions() -> None:
    found = read_from(
        parts("user", {"type": "text", "text": "Refund me"}),
        parts(
            "assistant",
            {"type": "step-start"},
            answer("tc_0", "output-available", id="tc_0", approved=True),
            answer("tc_1", id="tc_1", approved=True),
            answer("tc_2", id="tc_2", approved=False, reason="No."),
            id="exec_1",
        ),
    )
    assert found.answered == (Answered("tc_1", True, None), Answered("tc_2", False, "No."))
    assert found.message_id == "exec_1"


def test_answers_before_a_new_user_message_are_history_unless_the_client_names_theirs() -> None:
    messages = (
        parts("assistant", answer("tc_1", id="tc_1", approved=True), id="a"),
        parts("user", {"type": "text", "text": "Well?"}, id="u"),
    )
    assert read_from(*messages).input == "Well?"
    assert read_from(*messages, message_id="u").input == "Well?"
    assert read_from(*messages, message_id="a").answered == (Answered("tc_1", True, None),)


@pytest.mark.parametrize("approval", [{"id": "tc_1"}, {"id": "tc_1", "approved": "yes"}])
def test_a_decision_that_decides_nothing_is_refused(approval: dict[str, Any]) -> None:
    with pytest.raises(InvalidField):
        read_from(parts("assistant", answer("tc_1", **approval)))
