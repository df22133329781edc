"""The `schedule` of an agents file: a schedule with the agent's name, kept as the file says."""

from typing import Any

import pytest

from outlast.agents.define import Agent
from outlast.agents.loader import LoadedAgents, load, load_listed
from outlast.app import Core
from outlast.cli.composition import put_agents, retire_agents
from outlast.engine.maintenance.due_schedules import FIRE_SCHEDULES
from outlast.model.error import Conflict, Misconfigured
from outlast.model.schedule import PausedReason, Schedule, definition_from
from outlast.model.workspace import Principal
from outlast.store.page import Page
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.models import FakeModel, by_turn
from tests.support.schedules import at
from tests.support.tools import FakeTools

pytestmark = pytest.mark.anyio
DAILY = {"times": ["09:00"], "input": "Report."}


def file_of(*schedules: dict[str, Any] | None) -> LoadedAgents:
    names = ("one", "two", "three")
    agents = [Agent(n, model="actor", schedule=s) for n, s in zip(names, schedules, strict=False)]
    return load_listed(agents, "agents.py")


async def put(core: Core, caller: Principal, loaded: LoadedAgents) -> list[Schedule]:
    """As a server's start does; the schedules that there are then, oldest first."""
    workspace = await core.services.workspaces.put("default")
    await put_agents(core, workspace, loaded)
    await retire_agents(core, workspace, loaded)
    found, _ = await core.services.schedules.page(caller, None, Page(10))
    return found[::-1]


async def test_the_schedule_of_a_file_follows_the_file(database: Database) -> None:
    clock = FakeClock()
    models = NamedModels({"actor": FakeModel(by_turn(["Hello"]))})
    async with database.core(
        models=models, tools=FakeTools(), clock=clock, agents="agents.py"
    ) as core:
        await core.maintenance.hold(FIRE_SCHEDULES)
        caller, schedules = await owner(core), core.services.schedules
        one, two = await put(core, caller, file_of(DAILY, {"cron": "@hourly"}, None))
        assert (one.name, one.definition.times, one.key_id) == ("one", ("09:00",), None)
        with pytest.raises(Conflict, match="The agents file"):
            await schedules.change(caller, one.id, {"input": "Else"})
        with pytest.raises(Conflict, match="The agents file"):
            await schedules.delete(caller, one.id)

        paused = await schedules.pause(caller, one.id)
        clock.advance(60)
        assert await put(core, caller, file_of(DAILY, {"cron": "@hourly"}, None)) == [paused, two]

        clock.advance(3600)
        assert await core.maintenance.run(FIRE_SCHEDULES) == 1  # two's
        later = {"cron": "30 * * * *"}
        again, moved = await put(core, caller, file_of(DAILY | {"input": "New."}, later))
        assert (again.id, again.definition.input) == (one.id, "New.")
        assert again.paused_reason is PausedReason.REQUESTED
        assert (moved.id, moved.definition.cron) == (two.id, "30 * * * *")
        assert moved.next_run is not None
        assert moved.next_run > clock.now()

        assert await put(core, caller, file_of(DAILY | {"input": "New."}, None)) == [again]
        third = await put(core, caller, file_of(None, None, DAILY))
        assert [one.name for one in third] == ["three"]
        listed, _ = await core.services.agents.page(caller, Page(5))
        assert [agent.spec.name for agent in listed] == ["three", "two", "one"]
        assert await put(core, caller, file_of(None)) == []


async def test_a_yaml_file_and_a_python_file_say_the_same(tmp_path: Any) -> None:
    (tmp_path / "agents.yaml").write_text(
        "agents: [{name: one, model: actor, schedule: {mode: SCHEDULED, tasksPerDay: 1, "
        "times: [09:00], input: Report., budget: {maxSteps: 2}, startAt: 2026-03-01, "
        "endAt: 2026-04-01T10:00:00+02:00}}]"
    )
    given = {"tasksPerDay": 1, "input": "Report.", "budget": {"maxSteps": 2}}
    bounds = {"startAt": "2026-03-01T00:00:00Z", "endAt": "2026-04-01T08:00:00Z"}
    found = load(str(tmp_path / "agents.yaml")).specs
    assert found == file_of(given | bounds).specs
    (one,) = found
    assert one.schedule is not None
    definition = definition_from(one.schedule)
    assert definition.start_at == at("2026-03-01T00:00Z")
    assert definition.end_at == at("2026-04-01T08:00Z")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"cron": "0 9 30 2 *"}, 'agent "one", schedule.cron: .*Bad day-of-month'),
        ({"cron": "@daily", "zone": "UTC"}, 'agent "one", schedule.zone: '),
        ({"times": [9]}, 'agent "one", schedule.times'),
        ({"cron": "@daily", "startAt": "soon"}, 'agent "one", schedule.startAt: '),
        (
            {"cron": "@daily", "startAt": "2026-03-02", "endAt": "2026-03-01"},
            'agent "one", schedule.endAt: ',
        ),
    ],
)
def test_a_python_file_is_refused_in_the_same_words(given: dict[str, Any], text: str) -> None:
    with pytest.raises(Misconfigured, match=text):
        file_of(given)
