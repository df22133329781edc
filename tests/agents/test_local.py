"""A local model: the real SmolLM2-135M, fetched once into `.demo/` of the repository."""

import asyncio
import os
import select
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import is_valid

from outlast.agents.loader import load
from outlast.agents.models import local_files
from outlast.agents.models.local import LocalModel
from outlast.agents.models.local_prompt import answer_turns
from outlast.agents.port import Answer, ModelRequest, TextPiece
from outlast.model.agent import ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.error import ContextTooLong, Misconfigured, ModelRejected, ModelUnavailable
from outlast.model.message import (
    AssistantMessage,
    Message,
    Text,
    ToolCall,
    ToolMessage,
    UserMessage,
)

pytestmark = pytest.mark.anyio

REPOSITORY = Path(__file__).parents[2]
DATA_DIR = REPOSITORY / ".demo" / "data"
STORY: dict[str, Any] = {"max_tokens": 4000, "temperature": 1.0, "seed": 1}
"""Goes on for most of a minute unless it is stopped."""

LOOKUP = ToolSpec(
    "lookup_order",
    "Look up an order",
    {
        "type": "object",
        "properties": {"orderId": {"type": "string", "pattern": "^ORD-[0-9]{5}$"}},
        "required": ["orderId"],
    },
)
QUESTIONS = (
    ("What is the status of order ORD-12345?", "ORD-12345"),
    ("Hello, this is Anna. My order is ORD-20417. Any news?", "ORD-20417"),
    ("ORD-40002 - what happened to it?", "ORD-40002"),
)


@pytest.fixture(scope="session")
def data_dir(request: pytest.FixtureRequest) -> Path:
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        local_files.pull("smollm2", DATA_DIR, _say)
    return DATA_DIR


@pytest.fixture(scope="module")
async def model(anyio_backend: Any, data_dir: Path) -> AsyncIterator[LocalModel]:
    """The one of all tests, as in a server: whatever one does to it, the next one is answered."""
    del anyio_backend  # its event loop is the module's too
    model = LocalModel("smollm2", data_dir, SystemClock())
    yield model
    await model.close()


async def test_an_answer_comes_in_pieces_with_the_tokens_that_it_cost(model: LocalModel) -> None:
    pieces, answer = await _ask(model, _question("Why is the sky blue?", max_tokens=12))
    assert len(pieces) == 12
    assert answer.message == AssistantMessage((Text("".join(pieces)),))
    assert answer.finish_reason == "length"
    assert answer.usage.output_tokens == 12
    assert answer.usage.input_tokens > 20
    assert not answer.usage.estimated
    assert answer.model == "smollm2"


async def test_a_forced_tool_gets_arguments_of_its_schema_from_the_question(
    model: LocalModel,
) -> None:
    for question, order in QUESTIONS:
        request = _question(question, tools=(LOOKUP,), tool_choice="lookup_order")
        pieces, answer = await _ask(model, request)
        [call] = answer.message.tool_calls
        assert pieces == []
        assert call.id.startswith("tc_")
        assert call.name == "lookup_order"
        assert call.parameters == {"orderId": order}
        assert is_valid(LOOKUP.parameters, call.parameters)
        assert answer.finish_reason == "tool_calls"


async def test_required_forces_the_only_tool_and_cannot_choose_of_two(model: LocalModel) -> None:
    question = QUESTIONS[0][0]
    _, answer = await _ask(model, _question(question, tools=(LOOKUP,), tool_choice="required"))
    assert answer.message.tool_calls[0].parameters == {"orderId": "ORD-12345"}
    other = ToolSpec("refund", "Refund", {"type": "object"})
    with pytest.raises(ModelRejected, match="cannot choose"):
        await _ask(model, _question("?", tools=(LOOKUP, other), tool_choice="required"))
    with pytest.raises(ModelRejected, match="refund"):
        await _ask(model, _question("?", tools=(LOOKUP,), tool_choice="refund"))


async def test_the_example_agent_tells_the_status_that_its_tool_found(model: LocalModel) -> None:
    [agent] = load(str(REPOSITORY / "examples" / "agents.yaml")).specs
    statuses = ("shipped", "waiting for payment", "cancelled")
    for (question, order), status in zip(QUESTIONS, statuses, strict=True):
        call = ToolCall("tc_1", "lookup_order", {"orderId": order})
        messages = (
            UserMessage(question),
            AssistantMessage((call,)),
            ToolMessage("tc_1", "lookup_order", {"orderId": order, "status": status}),
        )
        request = ModelRequest(agent.instructions, messages, settings=agent.settings)
        _, answer = await _ask(model, request)
        assert status in answer.message.text


async def test_arguments_that_were_cut_off_are_an_invalid_call(model: LocalModel) -> None:
    request = _question(QUESTIONS[0][0], tools=(LOOKUP,), tool_choice="required", max_tokens=3)
    _, answer = await _ask(model, request)
    [call] = answer.message.tool_calls
    assert call.parameters == {}
    assert call.invalid
    assert answer.finish_reason == "length"


async def test_closing_stops_the_generation_for_the_next_request(model: LocalModel) -> None:
    stream = model.stream(_question("Tell me a long story.", **STORY))
    assert isinstance(await anext(stream), TextPiece)
    pid = model.pid
    await stream.aclose()
    async with asyncio.timeout(5):
        await _ask(model, _question("Hi", max_tokens=2))
    assert model.pid == pid


async def test_cancelling_stops_a_long_prompt_that_is_still_being_read(model: LocalModel) -> None:
    await _ask(model, _question("Hi", max_tokens=1))
    pid = model.pid
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await _ask(model, _question("word " * 7000))
    async with asyncio.timeout(15):
        await _ask(model, _question("Hi", max_tokens=2))
    assert model.pid == pid


async def test_requests_are_served_in_their_order(model: LocalModel) -> None:
    ended: list[int] = []

    async def ask(number: int) -> None:
        await _ask(model, _question(f"Count to {number}", max_tokens=20 - 6 * number))
        ended.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(ask(number))
    assert ended == [0, 1, 2]


async def test_a_child_that_is_killed_fails_its_request_and_serves_the_next(
    model: LocalModel,
) -> None:
    stream = model.stream(_question("Tell me a long story.", **STORY))
    await anext(stream)
    assert model.pid is not None
    killed = model.pid
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(ModelUnavailable, match="died"):
        async for _ in stream:
            pass
    _, answer = await _ask(model, _question("Hi", max_tokens=2))
    assert answer.usage.output_tokens == 2
    assert model.pid != killed


async def test_a_conversation_longer_than_the_context_is_named(model: LocalModel) -> None:
    with pytest.raises(ContextTooLong, match="8192"):
        await _ask(model, _question("word " * 9000))


async def test_a_setting_that_cannot_be_is_rejected(model: LocalModel) -> None:
    with pytest.raises(ModelRejected):
        await _ask(model, _question("Hi", temperature="hot"))


async def test_the_child_ends_with_its_parent_however_that_ends(data_dir: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(data_dir), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = os.pidfd_open(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    try:
        gone, _, _ = await asyncio.to_thread(select.select, [child], [], [], 5)
        assert gone
    finally:
        os.close(child)


async def test_a_file_that_is_no_model_fails_with_the_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(200))
    model = LocalModel(str(broken), tmp_path, SystemClock())
    with pytest.raises(ModelUnavailable, match=r"could not load.*llama\.cpp says"):
        await _ask(model, _question("Hi"))
    await model.close()


async def test_a_missing_extra_or_file_names_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Misconfigured, match="outlast models pull smollm2"):
        LocalModel("smollm2", tmp_path, SystemClock())
    with pytest.raises(Misconfigured, match=r"there is no file /nowhere/x\.gguf"):
        LocalModel("/nowhere/x.gguf", tmp_path, SystemClock())
    with pytest.raises(Misconfigured, match="'gpt-9'; there is: smollm2"):
        LocalModel("gpt-9", tmp_path, SystemClock())
    text = tmp_path / "x.gguf"
    text.write_text("hello")
    with pytest.raises(Misconfigured, match="not a GGUF file"):
        LocalModel(str(text), tmp_path, SystemClock())
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(Misconfigured, match=r"pip install '\.\[local\]'"):
        LocalModel("smollm2", tmp_path, SystemClock())


def test_examples_in_the_instructions_become_turns_and_results_join_the_question() -> None:
    call = ToolCall("tc_1", "find", {"x": 1})
    messages: tuple[Message, ...] = (
        UserMessage("Where?"),
        AssistantMessage((call,)),
        ToolMessage("tc_1", "find", {"place": "Bonn", "floor": 3, "open": True}),
    )
    instructions = "Be brief.\n\nUser: Who?\nfind: name: Ada\nAssistant: It is Ada.\n\nBe kind."
    assert answer_turns(ModelRequest(instructions, messages)) == [
        {"role": "system", "content": "Be brief.\n\n\nBe kind."},
        {"role": "user", "content": "Who?\nfind: name: Ada"},
        {"role": "assistant", "content": "It is Ada."},
        {"role": "user", "content": "Where?\nfind: place: Bonn, floor: 3, open: true"},
    ]


PARENT = f"""
import asyncio, sys
from pathlib import Path
from outlast.agents.models.local import LocalModel
from outlast.agents.port import ModelRequest
from outlast.model.clock import SystemClock
from outlast.model.message import UserMessage

async def main():
    model = LocalModel("smollm2", Path(sys.argv[1]), SystemClock())
    request = ModelRequest("", (UserMessage("Tell me a long story."),), settings={STORY!r})
    async for _ in model.stream(request):
        print(model.pid, flush=True)

asyncio.run(main())
"""


def _say(line: str) -> None:
    print(f"\n{line}", file=sys.stderr, flush=True)


def _question(
    text: str, tools: tuple[ToolSpec, ...] = (), tool_choice: str = "auto", **settings: Any
) -> ModelRequest:
    return ModelRequest("", (UserMessage(text),), tools, tool_choice, settings)


async def _ask(model: LocalModel, request: ModelRequest) -> tuple[list[str], Answer]:
    pieces: list[str] = []
    async for event in model.stream(request):
        match event:
            case TextPiece(text):
                pieces.append(text)
            case Answer():
                return pieces, event
            case _:
                raise AssertionError(event)
    raise AssertionError("no answer")
