"""A ten-step run is rolled back five times, and every room says the same of it each time."""

import pytest

from tests.support.api import Api, MakeApi
from tests.support.clocks import TickingClock
from tests.support.state_machine.agreement import Memory, agree
from tests.support.state_machine.answers import Answers, lists_of
from tests.support.state_machine.gates import Gates
from tests.support.state_machine.plots import Called, PlotModel, Reply, written
from tests.support.state_machine.tools import TOOLS, PlotTools
from tests.support.tools import spec

pytestmark = pytest.mark.anyio
LOOKS = [Reply(pieces=2, calls=(Called("look"),)) for _ in range(5)]
PLOT = written("1", [*LOOKS, Reply(pieces=2)])


async def test_a_ten_step_run_rolled_back_to_step_4_five_times_agrees_in_every_room(
    make_api: MakeApi,
) -> None:
    clock, gates = TickingClock(), Gates()
    api = await make_api(PlotModel(gates, clock), spec(*TOOLS), PlotTools(gates), clock=clock)
    execution_id = await api.started(input=PLOT)
    await api.rested(execution_id)
    memory = Memory()
    first = await _agreed(api, execution_id, memory)
    assert first.execution["usage"]["totalTokens"] == 90
    fourth = next(point["id"] for point in first.checkpoints if point["step"] == 4)
    for time in range(1, 6):
        path = f"/v1/executions/{execution_id}/resume"
        rolled = await api.client.post(path, json={"checkpointId": fourth})
        assert rolled.status_code == 200
        assert rolled.json()["usage"]["totalTokens"] == 30
        await api.rested(execution_id)
        answers = await _agreed(api, execution_id, memory)
        assert answers.execution["usage"] == first.execution["usage"]
        assert round(answers.execution["creditsUsed"] * 1000) == 90 + 60 * time
        assert len(answers.execution["toolCalls"]) == 5
        assert answers.execution["output"] not in (None, first.execution["output"])
        stand = [point["superseded"] for point in answers.checkpoints].count(False)
        assert (stand, len(answers.checkpoints)) == (11, 11 + 7 * time)
    assert len(memory.superseded) == 5 * 7


async def _agreed(api: Api, execution_id: str, memory: Memory) -> Answers:
    row = await api.core.services.executions.known(api.caller, execution_id)
    return await agree(api, row, memory, await lists_of(api))
