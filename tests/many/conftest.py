"""One fleet for all tests of this folder, on a Postgres that survives a crash."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.fleet import Fleet, durable_cluster, running_fleet
from tests.support.postgres import Cluster


@pytest.fixture(scope="package")
def postgres() -> Iterator[Cluster]:
    with durable_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="package")
async def fleet_of_all(
    anyio_backend: Any, postgres: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    async with running_fleet(tmp_path_factory.mktemp("fleet"), postgres) as fleet:
        yield fleet


@pytest.fixture
async def fleet(fleet_of_all: Fleet) -> Fleet:
    """The same five processes for every test, all of them alive when it begins."""
    await fleet_of_all.mend()
    return fleet_of_all
