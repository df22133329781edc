"""The baseline of a hand-over, on a real Postgres that keeps the times of its commits."""

from collections.abc import Iterator

import pytest
from bench.handover import hand_over

from tests.support.postgres import Cluster

pytestmark = pytest.mark.anyio

SAMPLES = 5


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(track_commit_timestamp="on") as cluster:
        yield cluster


async def test_each_row_is_heard_of_and_taken_after_its_commit(cluster: Cluster) -> None:
    found = await hand_over(cluster.url(), SAMPLES, durable=True)
    assert len(found.received) == len(found.taken) == SAMPLES
    assert all(seconds > 0 for seconds in found.received + found.taken)
