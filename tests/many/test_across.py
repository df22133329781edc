"""Across processes."""

import pytest

from tests.many.world import Town

pytestmark = pytest.mark.anyio


async def test_x(town: Town) -> None:
    ids = await town.many("idempotent", 60)
    logs = await town.logs("a", ids)
    assert all(log.of("done") for log in logs.values())
    assert not await town.orphans()
