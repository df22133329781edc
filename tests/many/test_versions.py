"""Two versions of the server side by side on one database, through a migration."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from outlast.store.schema import HEAD, OLDEST
from tests.support.fleet import Fleet
from tests.support.processes import DidNotStartError

pytestmark = pytest.mark.anyio

_EXPAND = (
    "ALTER TABLE executions ADD COLUMN of_the_future text",
    "ALTER TABLE events ADD COLUMN of_the_future text",
    "CREATE INDEX CONCURRENTLY ix_of_the_future ON executions (of_the_future, id)",
    f"UPDATE compatibility SET oldest = '{HEAD}'",
    "UPDATE alembic_version SET version_num = '9999'",
)
_CONTRACT = "UPDATE compatibility SET oldest = '9998'"
_BACK = (
    f"UPDATE alembic_version SET version_num = '{HEAD}'",
    f"UPDATE compatibility SET oldest = '{OLDEST}'",
    "ALTER TABLE events DROP COLUMN of_the_future",
    "ALTER TABLE executions DROP COLUMN of_the_future",
)


async def test_this_version_goes_on_through_a_migration_that_adds_and_starts_on_what_it_made(
    fleet: Fleet,
) -> None:
    ids = [*await fleet.many("speaker", 20), *await fleet.many("idempotent", 60)]
    async with _migrated(fleet):
        ids += await fleet.many("idempotent", 60)
        await fleet.leave("w1")
        await fleet.start("w1")
        logs = await fleet.logs("a", ids)  # so that none is with a worker that is held back
        async with fleet.only("w1"):
            logs |= await fleet.logs("a", await fleet.many("idempotent", 5))
        assert all(log.of("done") and not log.of("retry") for log in logs.values())
        assert not await fleet.orphans()


@pytest.mark.parametrize("name", ["c", "w9"])
async def test_a_start_on_a_schema_that_has_lost_what_this_version_needs_is_refused(
    fleet: Fleet, name: str
) -> None:
    async with _migrated(fleet):
        await fleet.rows(_CONTRACT)
        with pytest.raises(DidNotStartError) as refused:
            await fleet.start(name)
        assert refused.value.code == 2
        [sentence] = [line for line in refused.value.said.splitlines() if "outlast:" in line]
        assert "newer Outlast" in sentence
        assert "9998" in sentence
        assert "Traceback" not in refused.value.said
        assert (await fleet.log("a", (await fleet.many("idempotent", 1))[0])).of("done")


@asynccontextmanager
async def _migrated(fleet: Fleet) -> AsyncIterator[None]:
    """As a later version leaves the database that has only added to it."""
    for statement in _EXPAND:
        await fleet.rows(statement)
    try:
        yield
    finally:
        for statement in _BACK:
            await fleet.rows(statement)
