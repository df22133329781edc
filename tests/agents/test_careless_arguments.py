"""Arguments of tool calls that no database keeps, or that would be rounded; their length."""

import asyncio
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from outlast.agents.estimate import answer_tokens
from outlast.agents.models.assemble import read_arguments
from outlast.agents.models.openai_chat import OpenAIEndpoint
from outlast.agents.port import CallPiece
from outlast.agents.unreadable import unreadable_arguments
from outlast.model.message import AssistantMessage, Text, ToolCall
from outlast.model.text import storable_message
from tests.support.chat_endpoint import ask, chunk, heard
from tests.support.heartbeat import STILL, Heartbeat
from tests.support.provider import FakeProvider, Reply
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
BIG = "12345678901234567890123"


@pytest.mark.parametrize(
    ("written", "parameters"),
    [
        ('{"expression":"\\ud83d"}', {"expression": "\ufffd"}),
        ('{"a\\udce9":[{"b":"x\\ude00"}]}', {"a\ufffd": [{"b": "x\ufffd"}]}),
        ('{"a":"\\ud83d\\ude00"}', {"a": "😀"}),
    ],
)
async def test_half_a_character_in_arguments_and_no_usage_is_an_answer(
    endpoint: OpenAIEndpoint,
    provider: FakeProvider,
    written: str,
    parameters: dict[str, object],
) -> None:
    delta = {"index": 0, "id": "a", "function": {"name": "f", "arguments": written}}
    done = b"data: [DONE]\n\n"
    parts = (chunk({"tool_calls": [delta]}), chunk({}, "tool_calls"), done)
    provider.replies["m"] = Reply(parts)
    _, answer = await heard(endpoint.model("m"), ask())
    (call,) = storable_message(answer.message).tool_calls
    assert call.parameters == parameters
    assert answer.usage.estimated
    assert answer.usage.output_tokens > 0


def test_any_text_has_an_estimate() -> None:
    call = ToolCall("tc_1", "f\ud83d", {"a\udce9": "\ud83d"})
    assert answer_tokens(AssistantMessage((Text("\ud83d"), call))) > 1


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"a":%s}', f"The number {BIG} in a has more than 64 bits."),
        ('{"a":[{"b":-%s}]}', f"The number -{BIG} in a.0.b has more than 64 bits."),
        ('{"a":"\\ud83d","b":%s}', f"The number {BIG} in b has more than 64 bits."),
        (f'{{"a":%s{"0" * 400}}}', f"The number {BIG}{'0' * 17}… in a has more"),
    ],
)
def test_a_whole_number_beyond_64_bits_is_not_rounded(written: str, said: str) -> None:
    for text in (written % BIG, orjson.dumps(written % BIG).decode()):
        parameters, invalid = read_arguments(text)
        assert parameters == {}
        assert invalid is not None
        if len(written) < 400 or text == written % BIG:
            complaint = unreadable_arguments(invalid)
            assert complaint.message.startswith(said)
            assert complaint.message.endswith("Call the tool again and send it as text.")
            assert BIG not in complaint.cause


@pytest.mark.parametrize(
    "number", [str(2**64 - 1), str(-(2**63)), "1e30", "0.12345678901234567890123", f'"{BIG}"']
)
def test_other_numbers_and_long_digits_in_text_are_read(number: str) -> None:
    assert read_arguments(f'{{"a":{number}}}') == ({"a": orjson.loads(number)}, None)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("arguments", "parameters", "invalid"),
    [
        (f'{{"a": {BIG}}}', {}, f'{{"a": {BIG}}}'),
        (
            f'{{"a": [{{"b": -{BIG}}}], "c": "é"}}',
            {},
            f'{{"a": [{{"b": -{BIG}}}], "c": "\\u00e9"}}',
        ),
        (f'{{"a": {2**64}}}', {}, f'{{"a": {2**64}}}'),
        (f'{{"a": {2**64 - 1}, "b": {-(2**63)}}}', {"a": 2**64 - 1, "b": -(2**63)}, None),
        ('{"a": 12345678901234567890123.5}', {"a": 1.2345678901234568e22}, None),
        (f'"{{\\"a\\": {BIG}}}"', {}, f'{{"a": {BIG}}}'),
        (f"[{BIG}]", {}, f"[{BIG}]"),
    ],
)
async def test_arguments_that_are_no_text_keep_their_numbers_as_they_were_sent(
    endpoint: OpenAIEndpoint,
    provider: FakeProvider,
    arguments: str,
    parameters: dict[str, object],
    invalid: str | None,
    whole: bool,
) -> None:
    other = '{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"n": 1}}}'
    odd = f'{{"index": 1, "id": "b", "function": {{"name": "g", "arguments": {arguments}}}}}'
    field = "message" if whole else "delta"
    said = f'{{"choices": [{{"{field}": {{"tool_calls": [{other}, {odd}]}}'
    said += ', "finish_reason": "tool_calls"}]}'
    if whole:
        provider.replies["m"] = Reply((said.encode(),), "application/json")
    else:
        provider.replies["m"] = Reply((f"data: {said}\n\n".encode(), b"data: [DONE]\n\n"))
    _, answer = await heard(endpoint.model("m"), ask())
    first, second = answer.message.tool_calls
    assert (first.parameters, first.invalid) == ({"n": 1}, None)
    assert (second.parameters, second.invalid) == (parameters, invalid)


@pytest.mark.parametrize(
    ("function", "characters"),
    [
        ({"name": "look", "arguments": '{"a": "' + "b" * 90}, 101),
        ({"name": "look", "arguments": {"a": 1}}, 4 + len('{"a":1}')),
        ({"arguments": "x" * 7}, 7),
    ],
)
async def test_a_call_counts_while_it_is_written(
    endpoint: OpenAIEndpoint, provider: FakeProvider, function: dict[str, Any], characters: int
) -> None:
    provider.replies["m"] = Reply((chunk({"tool_calls": [{"function": function}]}),), hang=True)
    async with asyncio.timeout(BOUND), aclosing(endpoint.model("m").stream(ask())) as events:
        assert await anext(events) == CallPiece(characters)


@pytest.mark.parametrize(
    "delta",
    [
        {"index": 0, "function": {"name": "f", "arguments": " "}},
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "\n"}},
        {"index": 0, "function": {"name": "f", "arguments": "{"}},
        {"function": {"arguments": "\t"}},
    ],
)
async def test_a_call_in_very_many_pieces_does_not_hold_up_the_loop(
    endpoint: OpenAIEndpoint, provider: FakeProvider, delta: dict[str, Any]
) -> None:
    first = chunk({"tool_calls": [{"index": 0, "function": {"name": "f"}}]})
    many = chunk({"tool_calls": [delta] * 40_000})
    provider.replies["m"] = Reply((first, many, chunk({}, "tool_calls")))
    async with Heartbeat() as heart:
        _, answer = await heard(endpoint.model("m"), ask())
    assert heart.longest < STILL  # quadratic, blanks take many times that
    assert [call.name for call in answer.message.tool_calls] == ["f"]
