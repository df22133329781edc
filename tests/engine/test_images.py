"""Images that tools bring are kept once in a workspace, as long as an execution refers to them."""

import asyncio
from typing import Any

import psycopg
import pytest

from outlast.agents import call_images
from outlast.agents.port import ModelRequest
from outlast.engine.maintenance.retention import PURGE
from outlast.model.event import ToolFinished
from outlast.model.execution import ToolStep
from outlast.model.image import MOST_BYTES, Image, ImageNotFound
from outlast.store.conversations import content
from outlast.store.conversations import store as conversations
from outlast.store.conversations.content import Amount
from outlast.store.conversations.delete import delete_conversation
from tests.support.databases import POSTGRESQL, SQLITE, Database
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.images import Drawing, png
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import call, spec, tool
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio

AGENT = spec(tool("draw"))
BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%blobs%'"


def drawing(*seeds: int) -> FakeModel:
    """A model that draws these, all in one answer."""
    return FakeModel(by_turn([call(n, "draw", n=seed) for n, seed in enumerate(seeds)], ["Done."]))


async def drawer(make_engine: MakeEngine, *seeds: int) -> EngineHarness:
    tools = Drawing(lambda arguments: png(arguments["n"]))
    server = await make_engine(drawing(*seeds), AGENT, tools)
    await server.core.maintenance.hold(PURGE)
    return server


async def images_of(server: EngineHarness, execution_id: str) -> list[Image]:
    found = await server.core.store.executions.steps(server.caller.workspace_id, execution_id)
    return [image for step in found if isinstance(step, ToolStep) for image in step.images]


def ids_in(database: Database) -> list[str]:
    return [one for (one,) in database.rows("SELECT id FROM blobs ORDER BY id")]


async def test_the_result_the_log_and_the_store_have_it(
    make_engine: MakeEngine, database: Database
) -> None:
    server = await drawer(make_engine, 1, 1, 2)
    execution = (await server.run()).execution
    first, again, other = await images_of(server, execution.id)
    assert first == again != other
    log = await server.executions.log(server.caller, execution.id)
    ends = [entry.event for entry in log if isinstance(entry.event, ToolFinished)]
    assert {one.images[0].id: one.result for one in ends} == {
        one.id: one.placeholder for one in (first, other)
    }
    found = await server.core.services.images.get(server.caller, execution.id, other.id)
    assert (found.data, found.image) == (png(2), other)
    assert ids_in(database) == sorted({first.id, other.id})
    stored = str(database.rows("SELECT data FROM steps")) + str(
        database.rows("SELECT data FROM events")
    )
    assert "IHDR" not in stored


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "at once"])
async def test_an_execution_keeps_no_more_than_its_share(
    share_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, *, together: bool
) -> None:
    size = len(png(1))
    monkeypatch.setattr(call_images, "MOST_BYTES_OF_EXECUTION", 2 * size)

    def draws(request: ModelRequest) -> Reply:
        drawn = len(request.messages) // 2
        return ["Done."] if drawn == 3 else [call(drawn + 1, "draw", n=drawn + 1)]

    tools = Drawing(lambda arguments: png(arguments["n"]))
    model = drawing(1, 2, 3) if together else FakeModel(draws)
    server = await share_engine(model, AGENT, tools)
    execution = (await server.run()).execution
    assert len(await images_of(server, execution.id)) == 2


async def test_one_as_large_as_may_be_is_kept(share_engine: MakeEngine) -> None:
    large = png(1) + bytes(MOST_BYTES - len(png(1)))
    server = await share_engine(drawing(1), AGENT, Drawing(lambda _: large))
    execution = (await server.run()).execution
    (image,) = await images_of(server, execution.id)
    found = await server.core.services.images.get(server.caller, execution.id, image.id)
    assert found.data == large


async def test_bytes_are_read_by_their_ids(share_engine: MakeEngine) -> None:
    server = await drawer(share_engine, 1, 2)
    execution = (await server.run()).execution
    first, other = await images_of(server, execution.id)
    some, workspace = server.core.store.images.some, server.caller.workspace_id
    found = await some(workspace, [first.id, other.id, "img_0"])
    assert found == {first.id: png(1), other.id: png(2)}
    assert await some("ws_0", [first.id]) == {}


async def test_bytes_go_with_the_last_execution_that_refers_to_them(
    make_engine: MakeEngine, database: Database
) -> None:
    server = await drawer(make_engine, 1, 2)
    first = (await server.run()).execution
    second = (await server.run()).execution
    (image, other) = await images_of(server, first.id)
    assert database.rows("SELECT count(*) FROM blob_refs") == [(4,)]
    await server.executions.delete(server.caller, first.id)
    with pytest.raises(ImageNotFound):
        await server.core.services.images.get(server.caller, first.id, image.id)
    found = await server.core.services.images.get(server.caller, second.id, image.id)
    assert found.data == png(1)
    await server.core.services.conversations.delete(server.caller, second.conversation_id)
    assert ids_in(database) == []
    assert database.rows("SELECT count(*) FROM blob_refs") == [(0,)]
    assert other.id != image.id


async def test_a_purge_takes_many_images_in_pieces(
    make_engine: MakeEngine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for amount in ("FEW", "MANY"):
        monkeypatch.setattr(conversations, amount, Amount(50, 20))
    monkeypatch.setattr(content, "MANY", Amount(50, 20))
    server = await drawer(make_engine, *range(7))
    first = (await server.run()).execution
    second = (await server.run()).execution
    store = server.core.store.conversations
    workspace = server.caller.workspace_id
    await server.core.services.conversations.delete(server.caller, first.conversation_id)
    assert len(ids_in(database)) == 7, "the other execution has them"
    left = []

    async def seen(*given: Any) -> None:
        left.append(len(ids_in(database)))

    await server.core.store.driver.write(
        lambda: delete_conversation(workspace, second.conversation_id, 1)
    )
    while await store.purge():
        await seen()
    assert left[-1] == 0
    assert len({*left}) > 2, left


async def _blocked(database: Database) -> None:
    """Return once a transaction waits for a lock."""
    async with asyncio.timeout(BOUND):
        while not database.rows(BLOCKED):
            await between_looks()


@pytest.mark.only(POSTGRESQL)
async def test_a_deletion_waits_for_a_reference_that_is_being_written(
    make_engine: MakeEngine, database: Database
) -> None:
    server = await drawer(make_engine, 1)
    old = (await server.run()).execution
    (image,) = await images_of(server, old.id)
    async with await psycopg.AsyncConnection.connect(database.url) as other:
        await other.execute(
            "INSERT INTO blobs SELECT * FROM blobs ON CONFLICT (workspace_id, id)"
            " DO UPDATE SET id = excluded.id WHERE 1 = 0"  # as another execution does
        )
        deletion = asyncio.create_task(server.executions.delete(server.caller, old.id))
        await _blocked(database)
        await other.execute(
            "INSERT INTO blob_refs SELECT 'exec_2', blob_id, workspace_id FROM blob_refs"
        )
        await other.commit()
        await asyncio.wait_for(deletion, BOUND)
    assert ids_in(database) == [image.id]
    assert database.rows("SELECT execution_id FROM blob_refs") == [("exec_2",)]


@pytest.mark.only(POSTGRESQL)
async def test_a_reference_waits_for_a_deletion_of_the_bytes_and_brings_them_again(
    make_engine: MakeEngine, database: Database
) -> None:
    server = await drawer(make_engine, 1)
    old = (await server.run()).execution
    (image,) = await images_of(server, old.id)
    async with await psycopg.AsyncConnection.connect(database.url) as other:
        await other.execute("SELECT 1 FROM blobs FOR UPDATE")  # as a deletion of another process
        running = asyncio.create_task(server.run())
        await _blocked(database)
        await other.execute("DELETE FROM blob_refs")
        await other.execute("DELETE FROM blobs")
        await other.commit()
        new = (await asyncio.wait_for(running, BOUND)).execution
    found = await server.core.services.images.get(server.caller, new.id, image.id)
    assert found.data == png(1)


async def test_bytes_that_come_again_are_not_written_again(
    make_engine: MakeEngine, database: Database
) -> None:
    server = await drawer(make_engine, 1)
    await server.run()
    version = "at" if database.kind == SQLITE else "at, xmin::text::bigint"
    row = f"SELECT {version} FROM blobs"
    before = database.rows(row)
    server.clock.advance(5)
    await server.run()
    assert database.rows(row) == before
    assert database.rows("SELECT count(*) FROM blob_refs") == [(2,)]


async def test_a_deletion_and_a_new_reference_at_once_keep_what_is_referred_to(
    make_engine: MakeEngine, database: Database
) -> None:
    server = await drawer(make_engine, 1)
    for _ in range(3):
        old = (await server.run()).execution
        new, _ = await asyncio.gather(server.run(), server.executions.delete(server.caller, old.id))
        (image,) = await images_of(server, new.execution.id)
        found = await server.core.services.images.get(server.caller, new.execution.id, image.id)
        assert found.data == png(1)
        await server.executions.delete(server.caller, new.execution.id)
        assert ids_in(database) == []
