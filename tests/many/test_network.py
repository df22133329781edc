"""The network between one worker and Postgres is cut, and mended."""

import time
from collections.abc import AsyncIterator

import pytest

from tests.support.fleet import WORD_MILLIS, Fleet
from tests.support.network import Cut, Network
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio

HELD, LATE, TALKERS = 10, 10, 4
_RETRIED = """
SELECT at FROM events WHERE kind = 'step.retried' AND execution_id = ANY(%s) ORDER BY at
"""


@pytest.fixture(scope="module")
async def network(fleet_of_all: Fleet) -> AsyncIterator[Network]:
    """Between Postgres and the worker `w4`, which is started here."""
    async with Network(fleet_of_all.url) as network:
        await fleet_of_all.start("w4", OUTLAST_DATABASE_URL=network.url)
        yield network
        await fleet_of_all.kill("w4")


@pytest.mark.parametrize("cut", Cut)
async def test_a_worker_cut_off_stops_before_others_take_over_and_works_again_afterwards(
    fleet: Fleet, network: Network, cut: Cut
) -> None:
    tools, provider = fleet.tools, fleet.provider
    known = set(tools.calls)
    async with fleet.only("w4"):
        tools.answering.clear()
        held = await fleet.many("idempotent", HELD)
        await tools.until(lambda: len(set(tools.calls) - known) == HELD)
        talkers = await fleet.many("talker", TALKERS)
        provider.delay_ms = 1000.0  # an answer that requests a call then takes two seconds
        requests = provider.request_count
        late = await fleet.many("idempotent", LATE)
        await provider.wait_requests(requests + LATE)
        provider.delay_ms = WORD_MILLIS
    before = set(tools.calls)
    closed = provider.cut_by_client
    await network.cut(cut)
    tools.answering.set()

    await until_found(lambda: _reached(provider.cut_by_client, closed + TALKERS))
    stopped = time.time() * 1000
    logs = await fleet.logs("a", held + late)
    [(retried,), *_] = await until_found(lambda: fleet.rows(_RETRIED, talkers))
    assert stopped <= retried
    for log in logs.values():
        [started], [_], [_] = log.of("tool_call_start"), log.of("tool_call_end"), log.of("done")
        assert tools.calls[started["id"]] <= 1 + log.retries(2)
    assert all("w4" not in tools.callers[key] for key in set(tools.calls) - before)
    for name in talkers:
        answer = await fleet.clients["b"].post(f"/v1/executions/{name}/cancel")
        assert answer.json()["status"] == "cancelled"
    assert not await fleet.orphans()

    await network.mend()
    await fleet.ready("w4")
    async with fleet.only("w4"):
        logs = await fleet.logs("b", await fleet.many("idempotent", 5))
    for log in logs.values():
        [started] = log.of("tool_call_start")
        callers = tools.callers[started["id"]]
        assert set(callers) == {"w4"}
        assert len(callers) <= 1 + log.retries(2)


async def _reached(count: int, wanted: int) -> bool:
    return count >= wanted
