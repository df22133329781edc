"""A model is shown the newest images of its history, if it sees; everything else is text."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from outlast import Context
from outlast.agents.code import CodeFunctions
from outlast.agents.define import agent
from outlast.agents.estimate import IMAGE_TOKENS, request_tokens
from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.port import ModelRequest
from outlast.engine.segment.sight import Sight, newest
from outlast.model.agent import AgentSpec, Effect, ModelChoice
from outlast.model.clock import SystemClock
from outlast.model.error import ContextTooLong, ModelRejected
from outlast.model.execution import Status
from outlast.model.image import MOST_SHOWN, Image, ImageNotFound
from outlast.model.message import ToolMessage, UserMessage
from outlast.model.spec_json import spec_digest, spec_from_dict, spec_to_dict
from outlast.model.wait import Decision
from outlast.testing import FakeClock, NamedModels, owner
from tests.engine.test_checkpoints import get
from tests.support.databases import SQLITE, Database
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.images import Drawing, png
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import call, spec, tool

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]

SEEING = spec(tool("draw"), images=True)


def drawing(*seeds: int) -> FakeModel:
    """A model that draws these one after the other."""
    calls: list[Reply] = [[call(at, "draw", n=seed)] for at, seed in enumerate(seeds, 1)]
    return FakeModel(by_turn(*calls, ["Done."]))


async def drawer(
    make_engine: MakeEngine, model: FakeModel, agent_spec: AgentSpec = SEEING, **more: Any
) -> EngineHarness:
    tools = Drawing(lambda arguments: png(arguments["n"]))
    return await make_engine(model, agent_spec, tools, **more)


def shown(request: ModelRequest) -> list[bytes]:
    """The images that a model is shown, in order."""
    results = (message for message in request.messages if isinstance(message, ToolMessage))
    return [data for message in results for _, data in request.shown(message)]


def results(request: ModelRequest) -> list[str]:
    return [one.content for one in request.messages if isinstance(one, ToolMessage)]


async def test_the_newest_images_are_shown_each_once_and_older_ones_are_text(
    make_engine: MakeEngine,
) -> None:
    model = drawing(1, 2, 3, 4, 5, 2)
    server = await drawer(make_engine, model)
    await server.run()
    assert [shown(request) for request in model.requests[:2]] == [[], [png(1)]]
    assert shown(model.requests[4]) == [png(n) for n in (1, 2, 3, 4)]
    assert shown(model.requests[5]) == [png(n) for n in (2, 3, 4, 5)]
    assert shown(model.requests[6]) == [png(n) for n in (3, 4, 5, 2)]
    assert MOST_SHOWN == 4
    assert all(text.startswith("[image img_") for text in results(model.requests[6]))
    assert len(results(model.requests[6])) == 6


async def test_a_model_that_is_not_known_to_see_reads_the_text(make_engine: MakeEngine) -> None:
    model = drawing(1)
    await (await drawer(make_engine, model, spec(tool("draw")))).run()
    assert shown(model.requests[1]) == []
    assert results(model.requests[1])[0].startswith("[image img_")


async def test_the_next_turn_is_shown_them_too(make_engine: MakeEngine) -> None:
    model = drawing(1)
    server = await drawer(make_engine, model)
    first = (await server.run()).execution
    await server.run(conversation_id=first.conversation_id)
    assert shown(model.requests[2]) == [png(1)]
    assert shown(model.requests[3]) == [png(1)], "the same again, once"


async def test_an_approved_call_s_image_is_shown_after_the_approval(
    make_engine: MakeEngine,
) -> None:
    asks = spec(tool("draw", Effect.DESTRUCTIVE, approval=True), images=True)
    model = drawing(1)
    server = await drawer(make_engine, model, asks)
    execution_id = await server.start()
    assert (await server.rest(execution_id)).execution.status is Status.SUSPENDED
    decision = Decision(approved=True, reason="Fine", parameters={"n": 3})
    await server.core.services.approvals.decide(
        server.caller, execution_id, call(1, "draw").id, decision
    )
    await server.rest(execution_id)
    assert shown(model.requests[1]) == [png(3)]
    assert "Reason: Fine" in results(model.requests[1])[0]


async def test_a_roll_back_takes_an_image_from_sight_and_deletion_from_the_store(
    make_engine: MakeEngine, database: Database
) -> None:
    model = drawing(1, 2)
    server = await drawer(make_engine, model)
    execution_id = (await server.run()).execution.id
    checkpoints = await server.executions.checkpoints(server.caller, execution_id)
    second = next(one for one in checkpoints if one.step == 2)
    model._play = lambda _: ["Done."]
    await server.executions.resume(server.caller, execution_id, second.id)
    await server.rest(execution_id)
    assert shown(model.requests[-1]) == [png(1)]
    assert database.rows("SELECT count(*) FROM blobs") == [(2,)], "the log still names both"
    await server.executions.delete(server.caller, execution_id)
    assert database.rows("SELECT count(*) FROM blobs") == [(0,)]


async def test_a_model_that_rejects_images_gets_the_request_once_more_without_and_none_later(
    make_engine: MakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    draws = drawing(1, 2)

    def refuses(request: ModelRequest) -> Reply:
        return [ModelRejected("no images here")] if request.images else draws._play(request)

    model = FakeModel(refuses)
    server = await drawer(make_engine, model)
    view = await server.run()
    assert view.execution.output == "Done."
    assert [len(shown(request)) for request in model.requests] == [0, 1, 0, 0]
    assert "left_out" in capsys.readouterr().out


@pytest.mark.parametrize(("larger", "images"), [(9, [[0, 1, 0], []]), (10, [[0, 1], [1]])])
async def test_images_for_which_a_request_is_too_long_are_left_out_unless_a_larger_model_follows(
    database: Database, larger: int, images: list[list[int]]
) -> None:
    draws = drawing(1)

    def small(request: ModelRequest) -> Reply:
        return [ContextTooLong("long")] if request.images else draws._play(request)

    models = {"a": FakeModel(small), "b": FakeModel(lambda _: ["Done."])}
    chain = (ModelChoice("a", 9), ModelChoice("b", larger))
    agent_spec = replace(SEEING, model="a", chain=chain, fallback_on=("context_length_exceeded",))
    tools, clock = Drawing(lambda arguments: png(arguments["n"])), FakeClock()
    async with database.core(models=NamedModels({**models}), tools=tools, clock=clock) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent_spec, "1")])
        view = await EngineHarness(core, caller, models["a"], clock).run()
    assert view.execution.output == "Done."
    made = [[len(shown(request)) for request in one.requests] for one in models.values()]
    assert made == images


async def test_what_is_rejected_without_images_too_fails_as_before(
    make_engine: MakeEngine,
) -> None:
    draws = drawing(1)

    def refuses(request: ModelRequest) -> Reply:
        return [ModelRejected("no")] if results(request) else draws._play(request)

    model = FakeModel(refuses)
    view = await (await drawer(make_engine, model)).run()
    assert view.execution.error is not None
    assert (view.execution.error.code, len(model.requests)) == ("model_rejected", 3)


def test_an_image_counts_in_the_estimate() -> None:
    image = Image("img_1", "image/png", 3)
    message = ToolMessage("tc_1", "draw", image.placeholder, images=(image,))
    plain = ModelRequest("", (UserMessage("Hi"), message))
    seen = ModelRequest("", plain.messages, images={"img_1": b"abc"})
    assert request_tokens(seen) == request_tokens(plain) + IMAGE_TOKENS
    assert "abc" not in repr(seen)


def test_a_history_without_images_is_left_as_it_is() -> None:
    messages = (UserMessage("Hi"), ToolMessage("tc_1", "look", "x"))
    assert newest(messages) is messages


@pytest.mark.parametrize(
    ("model", "base_url", "images", "sees"),
    [
        ("anthropic:claude-x", None, None, True),
        ("anthropic:claude-x", None, False, False),
        ("google:gemini-x", None, None, True),
        ("groq:llama-x", None, None, False),
        ("groq:llama-x", None, True, True),
        ("openai-chat:gpt-x", None, None, True),
        ("openai-chat:gpt-x", "http://127.0.0.1:1/v1", None, False),
        ("openai-chat:gpt-x", "http://127.0.0.1:1/v1", True, True),
        ("openai:gpt-x", "http://127.0.0.1:1/v1", None, False),
        ("local:smollm2", None, True, False),
        ("scripted:x.yaml", None, True, False),
    ],
)
def test_who_sees_unless_the_agent_says(
    model: str, base_url: str | None, images: bool | None, sees: bool, tmp_path: Path
) -> None:
    environment = {} if base_url is None else {"OPENAI_BASE_URL": base_url}
    models = ModelCatalogue(SystemClock(), tmp_path, environment=environment)
    sight = Sight(images=None, models=models)  # type: ignore[arg-type]
    assert sight._sees(AgentSpec("a", model, images=images), model) is sees


def test_a_version_without_the_key_is_stored_as_before() -> None:
    plain = AgentSpec("a", "m")
    assert "images" not in spec_to_dict(plain)
    for images in (True, False):
        said = AgentSpec("a", "m", images=images)
        assert spec_from_dict(spec_to_dict(said)) == said
        assert spec_digest(said) != spec_digest(plain)


@pytest.mark.parametrize(
    ("given", "error"),
    [(["img_1"], TypeError), ("img_\ud800", ImageNotFound), ("img_1", ImageNotFound)],
)
async def test_what_is_no_id_of_an_image_fails_in_the_code_agent_s_function(
    database: Database, given: Any, error: type[Exception]
) -> None:
    async def look(ctx: Context, _: str) -> str:
        with pytest.raises(error):
            await ctx.image(given)
        return "Went on."

    found = agent(model="actor", name="agent")(look).spec
    model, clock = FakeModel(lambda _: ["Seen."]), FakeClock()
    code = CodeFunctions({str(found.code): look})
    async with database.core(models=NamedModels({"actor": model}), clock=clock, code=code) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(found, "1")])
        view = await EngineHarness(core, caller, model, clock).run()
    assert view.execution.output == "Went on."


async def test_a_code_agent_reads_an_image_and_shows_it_to_its_model(database: Database) -> None:
    read: list[bytes] = []

    async def look(ctx: Context, given: str) -> str:
        text = await ctx.tool("draw", n=1)
        read.append(await ctx.image(text.split()[1].rstrip(":")))
        later = [UserMessage(given), *ctx.history]
        return (await ctx.model(later)).text if ctx.history else text

    made = agent(model="actor", name="agent", images=True)(look).spec
    found = replace(made, tools=(tool("draw"),))
    model, clock = FakeModel(lambda _: ["Seen."]), FakeClock()
    async with database.core(
        models=NamedModels({"actor": model}),
        tools=Drawing(lambda arguments: png(arguments["n"])),
        clock=clock,
        code=CodeFunctions({str(found.code): look}),
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(found, "1")])
        server = EngineHarness(core, caller, model, clock)
        first = (await server.run()).execution
        assert read == [png(1)]
        again = await server.run(conversation_id=first.conversation_id)
        assert again.execution.output == "Seen."
        assert (await get(server, again.execution.id)).execution.status is Status.COMPLETED
    assert [shown(request) for request in model.requests] == [[png(1)]]
