"""A ten-step run is rolled back five times, and every room says the same of it each time."""

import pytest

from tests.engine.world import spec
from tests.rooms.conftest import Build
from tests.states.agreement import Memory, agree
from tests.states.world import TOOLS, Called, Gates, Player, Reply, TickingClock, Workshop, written

pytestmark = pytest.mark.anyio
LOOKS = [Reply(pieces=2, calls=(Called("look"),)) for _ in range(5)]
PLOT = written("1", [*LOOKS, Reply(pieces=2)])


async def test_a_ten_step_run_rolled_back_to_step_4_five_times_agrees_in_every_room(
    build: Build,
) -> None:
    clock, gates = TickingClock(), Gates()
    house = await build(Player(gates, clock), spec(*TOOLS), Workshop(gates), clock=clock)
    execution_id = await house.started(input=PLOT)
    await house.rested(execution_id)
    memory = Memory()
    first = await agree(house, execution_id, memory)
    assert first.execution["usage"]["totalTokens"] == 90
    fourth = next(point["id"] for point in first.checkpoints if point["step"] == 4)
    for time in range(1, 6):
        path = f"/v1/executions/{execution_id}/resume"
        rolled = await house.client.post(path, json={"checkpointId": fourth})
        assert rolled.status_code == 200
        assert rolled.json()["usage"]["totalTokens"] == 30
        await house.rested(execution_id)
        told = await agree(house, execution_id, memory)
        assert told.execution["usage"] == first.execution["usage"]
        assert round(told.execution["creditsUsed"] * 1000) == 90 + 60 * time
        assert len(told.execution["toolCalls"]) == 5
        assert told.execution["output"] not in (None, first.execution["output"])
        stand = [point["superseded"] for point in told.checkpoints].count(False)
        assert (stand, len(told.checkpoints)) == (11, 11 + 7 * time)
    assert len(memory.superseded) == 5 * 7
