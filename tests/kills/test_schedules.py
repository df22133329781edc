"""All servers are killed while many schedules are due: each time runs once."""

from functools import partial
from typing import Final

import pytest

from outlast.model.clock import SystemClock
from tests.support.deployment import Deployment
from tests.support.long_cases import WHOLE
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio
COUNT: Final = 1000 if WHOLE else 300
AGENTS: Final = """
agents:
  - name: brief
    model: openai-chat:words-1-delay-0
"""
_DEFINITION: Final = (
    '{{"cron":"* * * * *","times":[],"timezone":"UTC","input":"Go","metadata":{{}},"budget":{{}},'
    '"overlap":"skip","catch_up":"last","catch_up_window":86400,"start_at":null,"end_at":{minute},'
    '"jitter_seconds":0,"pause_after_failures":3}}'
)
_INSERT: Final = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
INSERT INTO schedules (id, workspace_id, agent_id, source, definition, next_run, next_at,
    last_scheduled, failures, missed, created_at, updated_at)
SELECT 'sch_' || n, workspace_id, id, 'api:', '{definition}', {minute}, {due}, 0, 0, 0, 1, 1
FROM agents, numbers WHERE name = 'brief'
"""
_STARTED: Final = "SELECT count(*) FROM schedule_runs"
_LIVE: Final = "SELECT 1 FROM executions WHERE schedule_id IS NOT NULL AND completed_at IS NULL"
_ONCE: Final = """
SELECT count(*), count(DISTINCT r.schedule_id), count(DISTINCT e.id) FROM schedule_runs AS r
JOIN executions AS e ON e.id = r.execution_id AND e.schedule_id = r.schedule_id
WHERE r.error IS NULL AND e.status = 'completed'
"""


async def test_each_schedule_of_a_minute_runs_once_over_deaths_of_all_servers(
    deployment: Deployment,
) -> None:
    deployment.deploy(AGENTS)
    await deployment.start()
    rows, now = deployment.database.rows, SystemClock().now()
    shape = {"count": COUNT, "minute": now // 60_000 * 60_000, "due": now + 500}
    rows(_INSERT.format(definition=_DEFINITION.format(**shape), **shape))

    async def started(count: int) -> bool:
        return bool(rows(_STARTED)[0][0] >= count)

    for share in (0, 0.5):
        await until_found(partial(started, 1 + round(share * COUNT)))
        await deployment.again()

    async def all_ended() -> bool:
        return not rows(_LIVE)

    await until_found(partial(started, COUNT))
    await until_found(all_ended)
    assert rows(_ONCE) == [(COUNT, COUNT, COUNT)]
    assert rows("SELECT count(*) FROM executions") == [(COUNT,)]
    assert rows("SELECT count(*) FROM schedules WHERE next_at IS NOT NULL") == [(0,)]
