"""Many schedules due at the same time, some of them broken."""

import asyncio
from typing import Any

import pytest

from outlast.duty import Failures
from outlast.engine.maintenance.due_schedules import DueSchedules
from outlast.model.error import InvalidField
from outlast.model.event import ExecutionStarted
from outlast.model.schedule import Overlap, PausedReason
from outlast.store.executions.values import Advance
from outlast.store.schedules.fire import Firing
from outlast.store.schedules.rows import schedules
from tests.support.databases import Database
from tests.support.schedules import ScheduleHouse, at
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
HOUR = 3600.0


async def test_a_time_is_run_once_however_many_look_at_once(house: ScheduleHouse) -> None:
    made = [await house.make(minute) for minute in ("0 9 * * *", "0 9 1-31 * *") for _ in range(4)]
    house.clock.advance(HOUR + 1)
    firing = Firing(house.clock.now(), house.clock.new_id, lambda _: (), 10)
    ids = [one.id for one in made]
    fired = await asyncio.gather(
        *(house.core.store.schedules.fire_due(firing, ids[:n]) for n in (3, 8, 3, 5, 6)),
        *(house.core.store.schedules.fire_due(firing, ids[:1]) for _ in range(2)),
    )
    assert await house.fire() + sum(map(len, fired)) == len(made)
    executions = await house.executions()
    assert len(executions) == len({one.origin.schedule_id for one in executions}) == len(made)


async def test_many_due_at_once_are_run_in_bounded_batches(
    house: ScheduleHouse, database: Database
) -> None:
    made = await house.make("* * * * *", overlap=Overlap.ALLOW)
    names = ", ".join(column.name for column in schedules.c if column.name != "id")
    database.rows(
        "WITH RECURSIVE numbers (n) AS "
        "(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1199) "
        f"INSERT INTO schedules (id, {names}) SELECT 'sch_' || n, {names} "
        f"FROM schedules, numbers WHERE id = '{made.id}'"
    )
    assert await house.fire("2026-03-04T08:01Z") == 1200
    (found,) = database.rows(
        "SELECT count(*), count(DISTINCT r.schedule_id), count(DISTINCT e.conversation_id) FROM "
        "schedule_runs AS r JOIN executions AS e ON e.id = r.execution_id "
        "AND e.schedule_id = r.schedule_id AND e.scheduled_at = r.scheduled_at"
    )
    assert found == (1200, 1200, 1200)
    assert await house.fire("2026-03-04T08:01:59Z") == 0


async def test_many_due_at_once_begin_a_few_at_a_time(
    house: ScheduleHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = house.core.store.executions
    advance, inside, most, begun = store.advance, 0, 0, 0

    async def counted(move: Advance) -> Any:
        nonlocal inside, most, begun
        if not any(isinstance(one, ExecutionStarted) for _, one in move.events):
            return await advance(move)
        inside, most, begun = inside + 1, max(most, inside + 1), begun + 1
        try:
            return await advance(move)
        finally:
            inside -= 1

    monkeypatch.setattr(type(store), "advance", lambda _, move: counted(move))
    made = [await house.make() for _ in range(120)]
    await house.fire("2026-03-04T09:00Z")
    await house.end()
    assert begun == len(made)
    assert most <= 64


async def test_a_zone_that_is_gone_pauses_it_and_holds_up_nothing(
    house: ScheduleHouse, database: Database
) -> None:
    broken = await house.make(timezone="Europe/Berlin")
    fine = await house.make("0 8 * * *", timezone="UTC", input="fine")
    text = "CAST(replace(CAST(definition AS TEXT), 'Europe/Berlin', 'Mars/Base') AS {})"
    text = text.format("TEXT" if database.kind == "sqlite" else "JSONB")
    database.rows(f"UPDATE schedules SET definition = {text} WHERE id = '{broken.id}'")
    await house.fire("2026-03-05T08:00Z")
    after = await house.now(broken)
    assert after.paused_reason is PausedReason.UNREADABLE
    (run,) = await house.runs(broken)
    assert run.error is not None
    assert run.error.code == "internal_error"
    assert [one.origin.schedule_id for one in await house.executions()] == [fine.id]
    with pytest.raises(InvalidField, match="Mars/Base"):
        await house.schedules.resume(house.caller, broken.id)
    mended = await house.schedules.change(house.caller, broken.id, {"timezone": "UTC"})
    assert mended.next_runs(1) == [at("2026-03-05T09:00Z")]


async def test_a_row_that_cannot_be_read_holds_up_nothing(
    house: ScheduleHouse, database: Database
) -> None:
    broken, fine = await house.make(), await house.make()
    database.rows(f"UPDATE schedules SET definition = '{{}}' WHERE id = '{broken.id}'")
    await house.fire("2026-03-04T09:00Z")
    assert [one.origin.schedule_id for one in await house.executions()] == [fine.id]
    found = database.rows(f"SELECT next_at, paused_reason FROM schedules WHERE id = '{broken.id}'")
    assert found == [(None, "unreadable")]


async def test_one_that_cannot_be_fired_holds_up_nothing_and_is_left_alone_for_a_while(
    house: ScheduleHouse, database: Database
) -> None:
    made = [await house.make() for _ in range(9)]
    broken, due = made[4], at("2026-03-04T09:00Z")
    false = "0" if database.kind == "sqlite" else "false"
    database.rows(
        "INSERT INTO schedule_runs (id, workspace_id, schedule_id, kind, at, scheduled_at, "
        f"execution_id, late, missed) VALUES ('run_other', '{broken.workspace_id}', "
        f"'{broken.id}', 'schedule', {due}, {due}, 'exec_other', {false}, 0)"
    )
    assert await house.fire("2026-03-04T09:00Z") == 8
    started = {one.origin.schedule_id for one in await house.executions()}
    assert started == {one.id for one in made} - {broken.id}
    database.rows("DELETE FROM schedule_runs WHERE id = 'run_other'")
    house.clock.advance(29)
    assert await house.fire() == 0
    house.clock.advance(2)
    assert await house.fire() == 1
    assert len(await house.executions()) == 9


async def test_the_pause_between_two_looks_ends_when_a_schedule_is_due(
    house: ScheduleHouse,
) -> None:
    store, counted = house.core.store.schedules, list[str]()
    looks = DueSchedules(store, house.clock, Failures(), lambda _: (), 10, counted.append)
    duty = looks.duties[0]
    assert duty.sleep is not None
    await house.make()
    house.clock.advance(HOUR - 0.3)
    assert await duty.run(10) == 0
    pause = asyncio.ensure_future(duty.sleep(1.0))
    await house.clock.sleeper()
    house.clock.advance(0.3)
    async with asyncio.timeout(BOUND):
        await pause
    assert await duty.run(10) == 1
    assert counted == ["started"]
