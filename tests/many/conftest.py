"""One town for all tests of this folder, on a Postgres that keeps what it has promised."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.many.world import FIVE, Town, settled
from tests.postgres import Cluster


@pytest.fixture(scope="package")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="package")
def postgres() -> Iterator[Cluster]:
    """A Postgres of this folder's own: it is killed, and must not forget then."""
    with Cluster(fsync="on", full_page_writes="on") as cluster:
        yield cluster


@pytest.fixture(scope="package")
async def houses(
    anyio_backend: Any, postgres: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    """The five processes, started at once on an empty database."""
    async with AsyncExitStack() as stack:
        town = await settled(stack, tmp_path_factory.mktemp("town"), postgres)
        await town.start(*FIVE)
        yield town


@pytest.fixture
async def town(houses: Town) -> Town:
    """The same five for every test, all of them alive when it begins."""
    await houses.mend()
    return houses
