"""What an execution has written to memory stores, shown with its checkpoints."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from outlast.model.workspace import Principal, Scope
from outlast.testing import NamedModels
from tests.support.api import Api
from tests.support.databases import SQLITE, Database
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call, spec

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


@pytest.fixture
async def api(database: Database) -> AsyncIterator[Api]:
    """A server whose agent writes an item and deletes it."""
    replies = by_turn(
        [call(1, "memory_write", key="a", content="one")],
        [call(2, "memory_delete", key="a")],
        ["Done."],
    )
    async with database.core(models=NamedModels({"actor": FakeModel(replies)})) as core:
        workspace = await core.services.workspaces.put("default")
        key = await core.services.keys.create(workspace.id, "owner")
        await core.services.agents.put(workspace.id, [(spec(), "1")])
        made = Api(core, Principal(key.key.id, workspace.id, frozenset(Scope)), key.secret)
        yield made
        await made.client.aclose()


async def test_checkpoints_show_what_was_written_to_memory_behind_them(api: Api) -> None:
    memory = api.core.services.memory
    store, _ = await memory.create(api.caller, "notes")
    execution_id = await api.started(memoryStores=[store.id])
    assert (await api.rested(execution_id))["status"] == "completed"
    path = f"/v1/executions/{execution_id}"

    async def shown() -> list[list[Any]]:
        found = (await api.get(f"{path}/checkpoints")).json()["data"]
        fields = ("storeId", "key", "version", "deleted")
        return [[[w[name] for name in fields] for w in one["memoryWrites"]] for one in found]

    written, deleted = [[store.id, "a", 1, False]], [[store.id, "a", 2, True]]
    assert await shown() == [written, [], deleted, [], []]
    first = (await api.get(f"{path}/checkpoints")).json()["data"][0]["id"]
    task = (await api.get(f"/v1/execution/{execution_id}")).json()["data"]
    of_tasks = [one.get("memory_writes", []) for one in task["checkpoints"]]
    kept = [[(w["store_id"], w["key"], w["deleted"]) for w in one] for one in of_tasks]
    assert kept == [[(store.id, "a", False)], [], [(store.id, "a", True)], [], []]
    await api.client.post(f"{path}/resume", json={"checkpointId": first})
    await api.rested(execution_id)
    assert (await shown())[:4] == [written, [], deleted, []], "a roll-back leaves what was written"
