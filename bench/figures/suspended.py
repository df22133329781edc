"""What ten thousand executions that await approval cost while idle: memory and processor time.

Of the server, that is; on Postgres the database's processes serve both servers alike.
"""

import asyncio

from bench.client import ask_once
from bench.fill import copy_execution
from bench.lab import Lab
from bench.process import Child
from bench.requests import cancel, execute, fetch, pause
from bench.table import Row

MEMORY_MIB = 3.0
"""Less than two idle servers differ by."""
CPU_PERCENT = 0.3
MIB = 1024 * 1024


async def measure(lab: Lab) -> list[Row]:
    """On each database."""
    return [row for kind in lab.kinds for row in await _measure(lab, kind)]


async def parents(lab: Lab, kind: str) -> list[Row]:
    """The same of parents that wait for a child, which is paused meanwhile."""
    return await _measure(lab, kind, "waits", "parents that wait for a child")


async def _measure(lab: Lab, kind: str, agent: str = "asks", what: str = "suspended") -> list[Row]:
    """Two servers side by side, one with nothing suspended."""
    many = lab.states.empty(kind, "suspended")
    async with lab.ours(many) as child:
        found = (await ask_once(child.port, execute(agent))).json()
        if found["status"] != "suspended":
            raise RuntimeError(f"The execution is {found['status']}, not suspended.")
        for below in (await fetch(child, f"/v1/executions?parentId={found['id']}"))["data"]:
            await ask_once(child.port, pause(below["id"]))
    none = lab.states.copy(many, "none")
    copy_execution(many, found["id"], lab.scale.suspended - 1)
    async with lab.ours(none) as one, lab.ours(many) as other:
        (await ask_once(one.port, cancel(found["id"]))).json()
        await asyncio.sleep(lab.scale.settle)
        (cpu, memory), (cpu_many, memory_many) = await asyncio.gather(
            _idle(one, lab.scale.idle_seconds), _idle(other, lab.scale.idle_seconds)
        )
    lab.states.drop(none, many)
    growth = memory_many - memory
    return [
        Row(
            f"{lab.scale.suspended:,} {what}, memory",
            f"{memory_many / MIB:.1f} MiB",
            f"none suspended: {memory / MIB:.1f} MiB",
            f"{memory_many / memory:.2f}×",
            f"≤ +{MEMORY_MIB:.0f} MiB",
            growth <= MEMORY_MIB * MIB,
            many.label,
        ),
        Row(
            f"{lab.scale.suspended:,} {what}, CPU while idle",
            f"{cpu_many:.2f} %",
            f"none suspended: {cpu:.2f} %",
            target=f"≤ +{CPU_PERCENT} %",
            met=cpu_many - cpu <= CPU_PERCENT,
            database=many.label,
        ),
    ]


async def _idle(child: Child, seconds: float) -> tuple[float, int]:
    """Percent of one processor, and bytes of memory."""
    before = child.cpu_seconds()
    await asyncio.sleep(seconds)
    return (child.cpu_seconds() - before) / seconds * 100, child.memory()
