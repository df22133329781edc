"""What a log shows of a provider's words."""

import pytest

from outlast.agents.port import ModelRequest
from outlast.engine.segment.echo import without_echo
from outlast.model.message import (
    AssistantMessage,
    Message,
    Text,
    ToolCall,
    ToolMessage,
    UserMessage,
)

WORDS = "the provider answered 400: "


def request(*messages: Message, instructions: str = "") -> ModelRequest:
    return ModelRequest(instructions, messages)


@pytest.mark.parametrize(
    ("conversation", "said", "shown"),
    [
        (request(UserMessage("my card is 4111 1111 1111 1111")), "bad: 4111 1111 1111", "bad:[…]"),
        (request(UserMessage("sum")), "sum of all", "sum of all"),
        (request(UserMessage("Anna")), "no name Anna here", "no name […] here"),
        (request(UserMessage("first\n  second line")), "'first second line'!", "'[…]'!"),
        (request(instructions="Never say marzipan."), "Never say marzipan.", "[…]"),
        (
            request(
                AssistantMessage((Text("ok"), ToolCall("tc_1", "pay", {"to": "bob-4711-xyz"})))
            ),
            "to: bob-4711-xyz",
            "to: […]",
        ),
        (request(ToolMessage("tc_1", "look", "status: shipped", False)), "shipped", "shipped"),
        (request(ToolMessage("tc_1", "look", {"a": "b" * 20}, False)), "b" * 20, "[…]"),
        (request(), "nothing was said", "nothing was said"),
    ],
)
def test_what_is_shared_with_the_request_is_marked(
    conversation: ModelRequest, said: str, shown: str
) -> None:
    assert without_echo(WORDS + said, conversation) == WORDS + shown


def test_a_long_conversation_takes_no_long_time_and_its_ends_are_found() -> None:
    conversation = request(UserMessage("start-4711-xyz " + "x " * 1_000_000 + "end-4711-xyz"))
    assert without_echo("start-4711-xyz, end-4711-xyz", conversation) == "[…],[…]"


def test_of_many_long_messages_the_newest_are_read() -> None:
    old, new = "an old secret of 4711 ", "a new secret of 4712 "
    conversation = request(*(UserMessage(text + "x" * 90_000) for text in (old, "", "", new)))
    assert without_echo("said: a new secret of 4712", conversation) == "said: […]"


def test_without_a_request_nothing_is_hidden() -> None:
    assert without_echo(WORDS, None) == WORDS
