"""U+0000, which Postgres stores in no text: wherever it comes from, the execution ends."""

from typing import Any

import pytest

from outlast.agents.port import Answer, ModelRequest, TextPiece
from outlast.model.error import ModelRejected, ToolFailed
from outlast.model.execution import Status, ToolStep
from outlast.model.message import AssistantMessage, Text, ToolMessage
from tests.engine.server import World
from tests.engine.world import USAGE, Actor, Bench, by_turn, call, spec, tool

pytestmark = pytest.mark.anyio


async def test_what_a_model_and_a_tool_say_is_kept_with_a_mark_in_its_place(world: World) -> None:
    actor = Actor(by_turn(["a\0", call(1, "look", **{"k\0": ["v\0"]})], ["b\0b"]))
    server = await world(actor, spec(tool("look")), Bench(look=lambda _: {"r\0": ["\0"]}))
    view = await server.run()
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "b\ufffdb")
    (step,) = [step for step in view.steps if isinstance(step, ToolStep)]
    assert step.call.parameters == {"k\ufffd": ["v\ufffd"]}
    assert step.result == {"r\ufffd": ["\ufffd"]}
    (told,) = [m for m in actor.asked[1].messages if isinstance(m, ToolMessage)]
    assert "\0" not in repr(told)
    assert all("\\x00" not in repr(entry) for entry in await server.log(view.execution.id))


async def test_a_tools_error_is_kept_with_a_mark_in_its_place(world: World) -> None:
    actor = Actor(by_turn([call(1, "look")], ["Done"]))
    bench = Bench(look=lambda _: ToolFailed("no\0 way"))
    server = await world(actor, spec(tool("look")), bench)
    view = await server.run()
    assert view.execution.output == "Done"
    (step,) = [step for step in view.steps if isinstance(step, ToolStep)]
    assert "no\ufffd way" in step.result


async def test_a_models_error_fails_the_execution(world: World) -> None:
    server = await world(Actor(lambda _: [ModelRejected("not\0 now")]))
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


async def test_a_models_name_and_reason_are_kept_with_a_mark_in_their_place(world: World) -> None:
    server = await world(Stranger())
    view = await server.run()
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Hello")
    assert view.execution.final_model == "model\ufffd"
