"""A worker whose database restarts while it starts."""

import asyncio

import pytest
from structlog.testing import capture_logs

from outlast.model.execution import Status
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import POSTGRESQL, Database
from tests.support.engine import EngineHarness
from tests.support.models import FakeModel
from tests.support.tools import spec
from tests.support.waiting import BOUND

pytestmark = [pytest.mark.anyio, pytest.mark.only(POSTGRESQL)]
OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_a_worker_that_loses_its_connections_as_it_starts_registers_again(
    database: Database,
) -> None:
    model = FakeModel(lambda _: ["Hi"])
    async with (
        asyncio.timeout(BOUND),
        database.core(models=NamedModels({"actor": model}), start=False) as core,
    ):
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        database.rows(OTHERS)
        with capture_logs() as logs:
            await core.start()
        assert [one["duty"] for one in logs if one["event"] == "duty.failed"] == ["queue_beat"]
        server = EngineHarness(core, caller, model, FakeClock())
        assert (await server.run()).execution.status is Status.COMPLETED
