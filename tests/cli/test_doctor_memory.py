"""`outlast doctor` on the embedding models of memory stores that no agents file names."""

import pytest

from outlast.model.price import UNPRICED, Prices
from outlast.services.findings import Level
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.doctor import findings

pytestmark = pytest.mark.anyio


async def test_the_models_of_stores_in_the_database_are_checked_beside_a_server_and_without(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    names = {"openai-embeddings:small", "lost:small", "deleted:small"}
    assert not any(one.startswith("embedding") for one in await findings(database.url))
    async with database.core(models=NamedModels({}), clock=FakeClock()) as core:
        memory = core.services.memory
        callers = [await owner(core, workspace) for workspace in ("default", "other", "third")]
        made = [
            (await memory.create(one, "notes", embedding="openai-embeddings:small"))[0].id
            for one in callers
        ]
        change = "UPDATE memory_stores SET embedding = '{}:small', deleted = {} WHERE id = '{}'"
        database.rows(change.format("lost", "false", made[1]))
        database.rows(change.format("deleted", "true", made[2]))
        beside = await findings(database.url)
    prices = Prices({"lost:small": UNPRICED, "other:small": UNPRICED})
    agents = database.folder / "agents.yaml"
    agents.write_text("agents: [{name: a, model: 'echo:'}]")
    priced = await findings(database.url, agents=str(agents), prices=prices)
    assert "no agent has other:small;" in priced["prices"].text
    for found in (beside, await findings(database.url)):
        checked = {name: found.get(f"embedding model {name}") for name in names}
        ready, lost = checked["openai-embeddings:small"], checked["lost:small"]
        assert ready is not None
        assert lost is not None
        assert (ready.level, lost.level) == (Level.OK, Level.FAIL)
        assert "No provider is named 'lost'" in lost.text
        assert checked["deleted:small"] is None
