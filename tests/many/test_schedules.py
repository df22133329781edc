"""Schedules that are due in one minute, over five processes of which some die: each runs once."""

import random
from functools import partial

import pytest

from tests.support.fleet import Fleet
from tests.support.long_cases import WHOLE
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio
COUNT = 1000 if WHOLE else 200
_MADE = """
INSERT INTO schedules (id, workspace_id, agent_id, source, definition, next_run, next_at,
    last_scheduled, failures, missed, created_at, updated_at)
SELECT 'sch_' || lpad(n::text, 26, '0'), a.workspace_id, a.id, 'api:', jsonb_build_object(
    'cron', '* * * * *', 'times', '[]'::jsonb, 'timezone', 'UTC', 'input', 'Go',
    'metadata', '{{}}'::jsonb, 'budget', '{{}}'::jsonb, 'overlap', 'skip', 'catch_up', 'last',
    'catch_up_window', 86400, 'start_at', NULL, 'end_at', minute, 'jitter_seconds', 0,
    'pause_after_failures', 3), minute, now_ms + 1500, 0, 0, 0, now_ms, now_ms
FROM generate_series(1, {count}) AS n, agents AS a, (SELECT
    floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms,
    floor(extract(epoch FROM clock_timestamp()) / 60)::bigint * 60000 AS minute) AS times
WHERE a.name = 'brief'
"""
_STARTED = "SELECT count(*) FROM schedule_runs"
_LIVE = "SELECT id FROM executions WHERE schedule_id IS NOT NULL AND completed_at IS NULL LIMIT 1"
_FOUND = """
SELECT e.schedule_id, e.status, r.error IS NULL, r.execution_id = e.id, r.at - (
    SELECT min(at) FROM schedule_runs)
FROM executions AS e JOIN schedule_runs AS r ON r.schedule_id = e.schedule_id
WHERE e.schedule_id IS NOT NULL
"""


async def test_each_of_many_due_at_once_runs_once_while_processes_are_killed(fleet: Fleet) -> None:
    await fleet.rows(_MADE.format(count=COUNT))
    other = random.Random(14).choice(["w1", "w2", "w3"])

    async def started(count: int) -> bool:
        return bool((await fleet.rows(_STARTED))[0][0] >= count)

    for share, victim in ((0, await fleet.leader()), (0.3, other), (0.6, "a")):
        await until_found(partial(started, 1 + round(share * COUNT)))
        if fleet.processes[victim].runs:
            await fleet.kill(victim)
            await fleet.start(victim)

    async def all_ended() -> bool:
        return not await fleet.rows(_LIVE)

    await until_found(partial(started, COUNT))
    await until_found(all_ended)
    found = await fleet.rows(_FOUND)
    assert len(found) == len({row[0] for row in found}) == COUNT
    assert {row[1:4] for row in found} == {("completed", True, True)}
    (left,) = await fleet.rows("SELECT count(*) FROM schedules WHERE next_at IS NOT NULL")
    assert left == (0,)
