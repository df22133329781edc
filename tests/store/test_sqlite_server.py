"""What clients and executions get where the SQLite file is in trouble."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from outlast.model.workspace import Principal, Scope
from outlast.testing import FakeClock, NamedModels, core_on
from tests.support.api import Api
from tests.support.models import FakeModel, by_turn
from tests.support.sqlite import StatementTrace, fill
from tests.support.tools import FakeTools, spec
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

LIVE = ("queued", "running")


@asynccontextmanager
async def house_in(folder: Path, actor: FakeModel, clock: FakeClock) -> AsyncIterator[Api]:
    async with core_on(
        folder,
        models=NamedModels({"actor": actor}),
        tools=FakeTools(),
        clock=clock,
        drain_seconds=1,
    ) as core:
        workspace = await core.services.workspaces.put("default")
        key = await core.services.keys.create(workspace.id, "owner", frozenset(Scope))
        await core.services.agents.put(workspace.id, [(spec(), "1")])
        caller = Principal(key.key.id, workspace.id, frozenset(Scope))
        house = Api(core, caller, key.secret)
        yield house
        await house.client.aclose()


async def ready(house: Api) -> bool:
    response = await house.client.get("/readyz")
    assert response.status_code == 200 or response.json()["status"] == "unavailable"
    return response.status_code == 200


async def at_last(house: Api, clock: FakeClock, execution: str) -> dict[str, Any]:
    """An execution at its end, though it may be run again."""
    while (found := (await house.get(f"/v1/executions/{execution}")).json())["status"] in LIVE:
        clock.advance(0.5)
        await asyncio.sleep(0)
    return dict(found)


async def test_a_full_disk_is_503_and_what_ran_goes_on_by_itself_once_there_is_room(
    small_disk: Path,
) -> None:
    go, clock = asyncio.Event(), FakeClock()
    actor = FakeModel(lambda request: ["begun ", go, "and ended"])
    async with asyncio.timeout(60), house_in(small_disk, actor, clock) as house:
        running = await house.started()
        await actor.spoke.wait()
        ballast = fill(small_disk)
        statuses = [
            (await house.execute({"input": "x" * 60_000, "background": True})).status_code
            for _ in range(20)
        ]
        assert statuses[-10:] == [503] * 10
        assert not await ready(house)
        answer = await house.execute({"input": "x" * 60_000})
        assert answer.json()["error"]["code"] == "overloaded"
        assert (await house.client.delete(f"/v1/executions/{running}")).status_code in (503, 409)
        assert (await house.get(f"/v1/executions/{running}")).status_code == 200
        go.set()

        ballast.unlink()
        assert await ready(house)
        assert (await house.execute({"input": "Hi"})).json()["status"] == "completed"
        assert (await at_last(house, clock, running))["output"] == "begun and ended"


async def test_a_damaged_database_is_503_everywhere(tmp_path: Path) -> None:
    actor, clock = FakeModel(by_turn(["Hello"], ["again"])), FakeClock()
    async with asyncio.timeout(BOUND), house_in(tmp_path, actor, clock) as house:
        done = (await house.execute({"input": "Hi"})).json()["id"]
        path = house.core.settings.database_path
        with path.open("r+b") as file:
            file.write(os.urandom(path.stat().st_size))
        assert not await ready(house)
        assert (await house.execute({"input": "Hi"})).status_code == 503
        assert (await house.get(f"/v1/executions/{done}")).status_code in (200, 503)


async def test_a_deleted_database_is_not_ready_and_takes_nothing(tmp_path: Path) -> None:
    actor, clock = FakeModel(by_turn(["Hello"], ["again"])), FakeClock()
    async with asyncio.timeout(BOUND), house_in(tmp_path, actor, clock) as house:
        house.core.settings.database_path.unlink()
        assert (await house.execute({"input": "Hi"})).status_code == 503
        assert not await ready(house)
        assert actor.requests == []


@pytest.mark.parametrize("pieces", [1, 40])
async def test_an_answer_that_the_database_cannot_take_fails_its_execution_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    StatementTrace(monkeypatch, length=400_000)
    long = ["x" * (440_000 // pieces)] * pieces
    actor, clock = (
        FakeModel(lambda r: long if "long" in str(r.messages) else ["short"]),
        FakeClock(),
    )
    async with asyncio.timeout(BOUND), house_in(tmp_path, actor, clock) as house:
        inputs = ["long", *["no"] * 5]
        begun = [await house.started(input=text) for text in inputs]
        refused, *others = [await at_last(house, clock, execution) for execution in begun]
        assert (refused["status"], refused["error"]["code"]) == ("failed", "internal_error")
        assert [(other["output"], other["error"]) for other in others] == [("short", None)] * 5
        assert sum("long" in str(request.messages) for request in actor.requests) <= 5
        assert await ready(house)
