"""U+0000 and halves of surrogate pairs, which no store keeps: the execution ends all the same."""

from dataclasses import replace
from typing import Any

import pytest

from outlast import Context
from outlast.agents.code import CodeFunctions
from outlast.agents.models.assemble import read_arguments
from outlast.agents.port import Answer, ModelRequest, TextPiece
from outlast.engine.segment.segment import StepText
from outlast.model.error import ModelRejected, ModelUnavailable, ToolFailed
from outlast.model.event import TextAdded, ThinkingAdded
from outlast.model.execution import Status, ToolStep
from outlast.model.message import AssistantMessage, Text, ToolMessage
from outlast.model.text import read_json, storable
from tests.engine.test_code import made
from tests.support.clocks import TickingClock
from tests.support.engine import MakeEngine
from tests.support.models import USAGE, FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = pytest.mark.anyio


async def test_what_a_model_and_a_tool_say_is_kept_with_a_mark_in_its_place(
    share_engine: MakeEngine,
) -> None:
    model = FakeModel(by_turn(["a\0", call(1, "look", **{"k\0": ["v\0"]})], ["b\0b"]))
    server = await share_engine(
        model, spec(tool("look")), FakeTools(look=lambda _: {"r\0": ["\0"]})
    )
    view = await server.run()
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "b\ufffdb")
    (step,) = [step for step in view.steps if isinstance(step, ToolStep)]
    assert step.call.parameters == {"k\ufffd": ["v\ufffd"]}
    assert step.result == {"r\ufffd": ["\ufffd"]}
    (shown,) = [m for m in model.requests[1].messages if isinstance(m, ToolMessage)]
    assert "\0" not in repr(shown)
    assert all("\\x00" not in repr(entry) for entry in await server.log(view.execution.id))


async def test_a_tools_error_is_kept_with_a_mark_in_its_place(share_engine: MakeEngine) -> None:
    model = FakeModel(by_turn([call(1, "look")], ["Done"]))
    tools = FakeTools(look=lambda _: ToolFailed("no\0 way"))
    server = await share_engine(model, spec(tool("look")), tools)
    view = await server.run()
    assert view.execution.output == "Done"
    (step,) = [step for step in view.steps if isinstance(step, ToolStep)]
    assert "no\ufffd way" in step.result


async def test_a_models_error_fails_the_execution(share_engine: MakeEngine) -> None:
    server = await share_engine(FakeModel(lambda _: [ModelRejected("not\0 now")]))
    view = await server.run()
    assert view.execution.status is Status.FAILED
    assert view.execution.error is not None
    assert view.execution.error.message == "not\ufffd now"


class Stranger:
    """Names itself and its reason in ways that no database keeps."""

    async def stream(self, request: ModelRequest) -> Any:
        yield TextPiece("Hello")
        yield Answer(AssistantMessage((Text("Hello"),)), USAGE, "model\0", "stop\0")

    async def close(self) -> None:
        pass


async def test_a_models_name_and_reason_are_kept_with_a_mark_in_their_place(
    share_engine: MakeEngine,
) -> None:
    server = await share_engine(Stranger())
    view = await server.run()
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Hello")
    assert view.execution.final_model == "model\ufffd"


HALVES = pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        (["\ud83d", "\ude00"], "😀"),
        (["a\ud83d", "\ude00b"], "a😀b"),
        (["\ud83d", "b"], "\ufffdb"),
        (["\ude00", "\ud83d"], "\ufffd\ufffd"),
        (["é\ud83d"], "é\ufffd"),
        (["\ud83d", "\ud83d", "\ude00\0"], "\ufffd😀\ufffd"),
        (["caf\udce9.txt"], "caf\ufffd.txt"),
    ],
)


@HALVES
async def test_halves_of_a_character_are_joined_in_output_and_log(
    share_engine: MakeEngine, pieces: list[str], whole: str
) -> None:
    server = await share_engine(FakeModel(lambda _: pieces))
    view = await server.run()
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, whole)
    log = [entry.event for entry in await server.log(view.execution.id)]
    said = [event for event in log if isinstance(event, TextAdded)]
    assert "".join(piece for event in said for piece in event.pieces) == whole


async def test_half_a_character_in_a_call_and_its_result_is_replaced(
    share_engine: MakeEngine,
) -> None:
    model = FakeModel(by_turn([call(1, "look", **{"k\ud83d": ["v\udce9", "\ud83d\ude00"]})], ["b"]))
    server = await share_engine(
        model, spec(tool("look")), FakeTools(look=lambda _: {"r\ud83d": ["\udce9"]})
    )
    view = await server.run()
    assert view.execution.status is Status.COMPLETED
    (step,) = [step for step in view.steps if isinstance(step, ToolStep)]
    assert step.call.parameters == {"k\ufffd": ["v\ufffd", "😀"]}
    assert step.result == {"r\ufffd": ["\ufffd"]}


@pytest.mark.parametrize("said", ["caf\udce9.txt", "\ud83d", "no\0"])
async def test_a_tools_error_that_cannot_be_stored_is_shown_to_the_model(
    share_engine: MakeEngine, said: str
) -> None:
    model = FakeModel(by_turn([call(1, "look")], ["Done"]))
    server = await share_engine(
        model, spec(tool("look")), FakeTools(look=lambda _: ToolFailed(said))
    )
    view = await server.run()
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Done")


@pytest.mark.parametrize("said", ["y" * 5_000_000, "é\ud83d" * 40_000, "x" * 65_534 + "😀"])
async def test_a_long_error_of_a_tool_is_cut_with_a_mark_at_its_end(
    share_engine: MakeEngine, said: str
) -> None:
    model = FakeModel(by_turn([call(1, "look")], ["Done"]))
    server = await share_engine(
        model, spec(tool("look")), FakeTools(look=lambda _: ToolFailed(said))
    )
    view = await server.run()
    (step,) = [step for step in view.steps if isinstance(step, ToolStep)]
    assert isinstance(step.result, str)
    size = len(storable(said).encode())
    assert step.result.endswith(f"… (cut: {size} bytes in all)")
    assert 65_500 < len(step.result.encode()) <= 65_536
    assert step.result[:6_000] == storable(said)[:6_000]


async def test_an_error_of_a_tool_that_fits_is_kept_whole(share_engine: MakeEngine) -> None:
    said = "é" * 32_768
    model = FakeModel(by_turn([call(1, "look")], ["Done"]))
    server = await share_engine(
        model, spec(tool("look")), FakeTools(look=lambda _: ToolFailed(said))
    )
    view = await server.run()
    (step,) = [step for step in view.steps if isinstance(step, ToolStep)]
    assert step.result == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"a":12345678901234567890123}', "12345678901234567890123 in a has more than 64 bits"),
        ('{"a":{"b":[0,-9223372036854775809]}}', "-9223372036854775809 in a.b.1 has"),
        ('{"a":"12345678901234567890123"', "were not a JSON object"),
    ],
)
async def test_arguments_that_would_be_rounded_are_shown_to_the_model(
    share_engine: MakeEngine, written: str, said: str
) -> None:
    parameters, invalid = read_arguments(written)
    wanted = replace(call(1, "look", **parameters), invalid=invalid)
    model = FakeModel(by_turn([wanted], ["Done"]))
    tools = FakeTools(look=lambda _: "never")
    server = await share_engine(model, spec(tool("look")), tools)
    view = await server.run()
    (step,) = [step for step in view.steps if isinstance(step, ToolStep)]
    assert step.is_error
    assert isinstance(step.result, str)
    assert said in step.result


async def test_a_failure_that_cannot_be_stored_is_tried_again_and_reported(
    make_engine: MakeEngine,
) -> None:
    server = await make_engine(
        FakeModel(lambda _: ["ab", ModelUnavailable("no\ud83d")]), model_retries=1
    )
    execution_id = await server.start()
    await server.clock.sleeper()
    server.clock.advance(1)
    view = await server.rest(execution_id)
    assert view.execution.error is not None
    assert view.execution.error.message == "no\ufffd"


def test_json_that_spells_half_a_character_is_read() -> None:
    assert read_json(b'{"a": "\\ud83d"}') == {"a": "\ud83d"}
    assert storable(read_json(b'["\\uD83D\\uDE00", "\\ud83dx"]')) == ["😀", "\ufffdx"]
    assert read_json(b'"caf\xe9"') == "caf\ufffd"
    assert read_json(b'["\\ud83d", 18446744073709551615, 18446744073709551616]')[1:] == [
        2**64 - 1,
        float(2**64),
    ]
    for broken in (b"[" * 100_000 + b'"\\ud83d', b'["\\ud83d", NaN]', b'"\\ud83d', b"{oops"):
        with pytest.raises(ValueError, match=r".*"):
            read_json(broken)


@pytest.mark.parametrize("text", ["", "plain", "é😀", "a\ufffd"])
def test_text_that_can_be_stored_is_kept_as_it_is(text: str) -> None:
    assert storable(text) is text
    value = {text: [text, 1, None, True, 2.5]}
    assert storable(value) is value


@pytest.mark.parametrize("name", ["caf\udce9.txt", "half\ud83d", "nul\0"])
async def test_a_function_may_say_what_no_database_stores(
    make_engine: MakeEngine, name: str
) -> None:
    written = name.replace("\udce9", "\ufffd").replace("\ud83d", "\ufffd").replace("\0", "\ufffd")

    async def function(ctx: Context, given: str) -> Any:
        await ctx.emit("file", {"name": name})
        await ctx.checkpoint({"at": name}, name)
        await ctx.model(name, instructions=name)
        await ctx.tool("look", name=name)
        if given == "raise":
            raise ValueError(name)
        return {"file": name} if given == "object" else name

    found, tools = made(function, tool("look")), FakeTools(look=lambda _: None)
    code = CodeFunctions({str(found.code): function})
    server = await make_engine(FakeModel(by_turn(["Hello."])), found, tools, code=code)
    for given in ("text", "object", "raise"):
        execution = (await server.run(given)).execution
        if given == "raise":
            assert execution.error is not None
            assert execution.error.message == f"ValueError: {written}"
        else:
            assert execution.status is Status.COMPLETED
            assert written in (execution.output or "")


def test_the_first_piece_of_a_part_is_shown_at_the_time_that_is_kept() -> None:
    clock, text = TickingClock(), StepText()
    for kind in (ThinkingAdded, TextAdded):
        text.add(clock, kind, "first")
        text.add(clock, kind, "second")
        shown = text.take(1)
        text.add(clock, kind, "later")
        ((later, _),) = text.take(1)
        at, kept = text.whole(1)[-1]
        assert [(at_, event.pieces) for at_, event in shown] == [(at, ("first", "second"))]
        assert kept.pieces == ("first", "second", "later")
        assert later > at
