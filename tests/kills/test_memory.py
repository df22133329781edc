"""Servers that write to a memory store are killed: the items and the logs agree at any moment."""

from functools import partial
from random import Random
from typing import Final

import pytest

from tests.support.deployment import Deployment
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio
EXECUTIONS: Final = 4
WRITES: Final = 40
AGENTS: Final = f"""
from outlast import Agent, Context, agent
from outlast.model.agent import Limits


@agent(model="openai-chat:words-1", limits=Limits(max_steps=1000))
async def writer(ctx: Context, given: str) -> str:
    for number in range({WRITES}):
        await ctx.tool("memory_write", key=given, content=f"{{given}} wrote {{number}}")
    return "done"


agents: list[Agent] = [writer]
"""
_WRITTEN: Final = "SELECT count(*) FROM memory_versions"
_RECORDED: Final = "SELECT count(*) FROM steps WHERE kind = 'tool'"
_SUMS: Final = """
SELECT s.items, s.bytes, count(i.id), sum(i.bytes), sum(i.version), (
    SELECT count(*) FROM memory_versions AS v WHERE v.content NOT LIKE '% wrote ' || (v.version - 1)
) FROM memory_stores AS s JOIN memory_items AS i ON i.store_id = s.id GROUP BY s.id
"""


async def test_each_recorded_write_is_a_version_and_each_version_a_recorded_write(
    deployment: Deployment,
) -> None:
    deployment.deploy(AGENTS, "writers.py")
    await deployment.start()
    store = (await deployment.post("/v1/memory-stores", name="notes")).json()["id"]
    ids = [
        (
            await deployment.post(
                "/v1/agents/writer/execute", input=f"w{n}", background=True, memoryStores=[store]
            )
        ).json()["id"]
        for n in range(EXECUTIONS)
    ]
    rows, chance = deployment.database.rows, Random(14)

    async def written(count: int) -> bool:
        return bool(rows(_WRITTEN)[0][0] >= count)

    for share in (0.1, 0.3, 0.5, 0.8):
        await until_found(
            partial(written, round(share * EXECUTIONS * WRITES) + chance.randrange(9))
        )
        await deployment.kill()
        assert rows(_WRITTEN) == rows(_RECORDED)
        await deployment.start()
    for one in ids:
        await deployment.ended(one)
    assert rows(_WRITTEN) == rows(_RECORDED) == [(EXECUTIONS * WRITES,)]
    ((items, size, found, bytes_of_all, versions, out_of_order),) = rows(_SUMS)
    assert (items, size) == (found, bytes_of_all)
    assert (found, versions, out_of_order) == (EXECUTIONS, EXECUTIONS * WRITES, 0)
