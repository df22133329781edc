"""What the rooms show of a run whose first model failed: the one that answered, at its price."""

from decimal import Decimal
from pathlib import Path

import pytest

from outlast.model.price import NANO
from outlast.model.workspace import Principal, Scope
from tests.engine.test_fallback import COST, FAILURES, setting
from tests.support.api import Api
from tests.support.databases import Database
from tests.support.records_room import sound, tree, walk

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("how", ["before the first token", "after some tokens"])
async def test_every_room_names_the_model_that_answered(
    how: str, database: Database, tmp_path: Path
) -> None:
    async with setting(database, tmp_path) as here:
        here.first.replies["m"] = FAILURES[how][0]
        execution = (await here.run("a:m", "b:m")).execution
        keys = here.core.services.keys
        made = await keys.create(execution.workspace_id, "reader", frozenset(Scope))
        reader = Principal(made.key.id, execution.workspace_id, frozenset(Scope))
        api = Api(here.core, reader, made.secret)
        (event,) = (await api.get("/v1/agents/agent/events")).json()["data"]
        assert (event["status"], event["finalModel"]) == ("COMPLETED", "b-2026")
        root = await tree(api, execution.id)
        assert root["creditsUsed"] == Decimal(COST) / NANO
        details = [node["detail"] for node in walk(root)]
        assert [one["model"] for one in details if "model" in one] == ["b-2026", "b-2026"]
        await sound(api, root)
        await api.client.aclose()
