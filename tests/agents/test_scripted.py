"""The scripted model: the same history, the same answer."""

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import yaml

from outlast.agents.models.scripted import ScriptedModel
from outlast.agents.port import Answer, ModelEvent, ModelRequest, TextPiece, ThinkingPiece
from outlast.model.clock import SystemClock
from outlast.model.error import (
    ContextTooLong,
    Misconfigured,
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
)
from outlast.model.message import AssistantMessage, Message, Text, ToolMessage, UserMessage
from outlast.model.usage import Usage
from tests.support.clocks import InstantClock

pytestmark = pytest.mark.anyio

SCRIPT = yaml.safe_load(r"""
turns:
  - when: 'order (?P<order>\w+)'
    steps:
      - thinking: I look it up.
        tool_calls:
          - {name: lookup, parameters: {orderId: "{order}", list: ["{input}", 3]}}
          - {name: clock}
      - text: "It is {result.status}. {unknown} {result.a.b}"
  - when: raw
    steps: [{text: first}, {text: "{result}"}]
  - when: "^fail (?P<code>.*)"
    steps: [{text: Half an, fail: {code: model_unavailable, message: Down.}}]
  - steps:
      - text: "You said: {input}\n"
""")


async def heard(*messages: Message, script: Any = SCRIPT) -> tuple[list[ModelEvent], Answer]:
    model = ScriptedModel.from_data(script, SystemClock())
    async with aclosing(model.stream(ModelRequest("Be kind.", messages))) as events:
        said = [event async for event in events]
    assert isinstance(said[-1], Answer)
    return said[:-1], said[-1]


async def test_the_first_turn_without_a_pattern_takes_any_message() -> None:
    pieces, answer = await heard(UserMessage("hi  there"))
    assert pieces == [TextPiece(text) for text in ("You", " said:", " hi", "  there\n")]
    assert answer.message == AssistantMessage((Text("You said: hi  there\n"),))
    assert (answer.usage, answer.finish_reason) == (Usage(5, 5), "stop")


async def test_a_step_calls_tools_with_what_the_pattern_found() -> None:
    pieces, answer = await heard(UserMessage("Where is ORDER a7?"))
    assert pieces == [ThinkingPiece(text) for text in ("I", " look", " it", " up.")]
    first, second = answer.message.tool_calls
    assert first.parameters == {"orderId": "a7", "list": ["Where is ORDER a7?", 3]}
    assert (second.name, second.parameters) == ("clock", {})
    assert answer.finish_reason == "tool_calls"


async def test_the_next_step_follows_from_the_history_alone() -> None:
    question = UserMessage("order 7")
    _, first = await heard(question)
    result = ToolMessage(first.message.tool_calls[0].id, "lookup", {"status": "sent"})
    for _ in range(2):
        _, second = await heard(question, first.message, result)
        assert second.message.text == "It is sent. {unknown} "
        assert not second.usage.estimated


async def test_a_new_user_message_begins_again() -> None:
    history = (UserMessage("raw"), AssistantMessage((Text("first"),)), UserMessage("raw"))
    assert (await heard(*history))[1].message.text == "first"


@pytest.mark.parametrize(("content", "said"), [({"a": 1}, '{"a":1}'), ("{input}", "{input}")])
async def test_a_result_stands_as_json_or_as_its_text(content: Any, said: str) -> None:
    history = (
        UserMessage("raw"),
        AssistantMessage((Text("first"),)),
        ToolMessage("tc_1", "x", content),
    )
    assert (await heard(*history))[1].message.text == said


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("model_unavailable", ModelUnavailable),
        ("rate_limit_exceeded", ModelRateLimited),
        ("model_rejected", ModelRejected),
        ("context_length_exceeded", ContextTooLong),
    ],
)
async def test_a_failure_comes_after_the_text(code: str, error: type[Exception]) -> None:
    script = {"turns": [{"steps": [{"text": "Half an", "fail": {"code": code, "message": "No"}}]}]}
    model = ScriptedModel.from_data(script, SystemClock())
    events = model.stream(ModelRequest("", (UserMessage("x"),)))
    pieces = [await anext(events), await anext(events)]
    with pytest.raises(error, match="No"):
        await anext(events)
    assert pieces == [TextPiece("Half"), TextPiece(" an")]


async def test_a_delay_stands_before_each_word() -> None:
    clock = InstantClock()
    script = {"turns": [{"steps": [{"text": "one two", "delay_ms": 20}]}]}
    model = ScriptedModel.from_data(script, clock)
    assert [e async for e in model.stream(ModelRequest("", (UserMessage("x"),)))][1:2]
    assert clock.slept == [0.02, 0.02]


async def test_a_history_that_no_step_fits_is_rejected() -> None:
    with pytest.raises(ModelRejected, match="no step 2"):
        await heard(UserMessage("hi"), AssistantMessage((Text("x"),)))
    with pytest.raises(ModelRejected, match="no turn matches 'hi'"):
        await heard(UserMessage("hi"), script={"turns": [{"when": "x", "steps": [{}]}]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("turns: [", "is not YAML"),
        ("turns: 3", "at turns"),
        ("", "at the top"),
        ("turns: [{steps: [{txt: a}]}]", "at turns.0.steps.0.txt"),
        ("turns: [{when: '(', steps: [{}]}]", "at turns.0.when"),
        ("turns: [{steps: [{fail: {code: x}}]}]", "at turns.0.steps.0.fail.code"),
    ],
)
def test_a_bad_file_is_named_with_its_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "demo.yaml"
    path.write_text(text)
    with pytest.raises(Misconfigured, match=said) as raised:
        ScriptedModel.from_file(path, SystemClock())
    assert "demo.yaml" in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"none\.yaml cannot be read"):
        ScriptedModel.from_file(tmp_path / "none.yaml", SystemClock())


async def test_the_script_of_the_documentation_works() -> None:
    from outlast.agents.models import scripted

    text = (scripted.__doc__ or "").partition("YAML:\n")[2].partition("\nThe first turn")[0]
    _, answer = await heard(UserMessage("order 7"), script=yaml.safe_load(text))
    assert answer.message.tool_calls[0].parameters == {"orderId": "7"}
