"""What ten thousand executions that await approval cost while idle: memory and processor time."""

import asyncio
import shutil

from bench.client import ask_once, post
from bench.fill import copy_execution
from bench.lab import KEY, Lab, database, execute
from bench.process import Child
from bench.table import Row

MEMORY_MIB = 3.0
"""Less than two idle servers differ by."""
CPU_PERCENT = 0.3
MIB = 1024 * 1024


async def measure(lab: Lab) -> list[Row]:
    """Two servers side by side, one with nothing suspended."""
    none, many = lab.room / "none", lab.data("suspended")
    async with lab.ours(many) as child:
        found = (await ask_once(child.port, execute("asks"))).json()
    if found["status"] != "suspended":
        raise RuntimeError(f"The execution is {found['status']}, not suspended.")
    shutil.copytree(many, none)
    copy_execution(database(many), found["id"], lab.scale.suspended - 1)
    async with lab.ours(none) as one, lab.ours(many) as other:
        cancel = post(f"/v1/executions/{found['id']}/cancel", {}, KEY)
        (await ask_once(one.port, cancel)).json()
        await asyncio.sleep(lab.scale.settle)
        (cpu, memory), (cpu_many, memory_many) = await asyncio.gather(
            _idle(one, lab.scale.idle_seconds), _idle(other, lab.scale.idle_seconds)
        )
    lab.drop(none, many)
    growth = memory_many - memory
    return [
        Row(
            f"{lab.scale.suspended:,} suspended, memory",
            f"{memory_many / MIB:.1f} MiB",
            f"none suspended: {memory / MIB:.1f} MiB",
            f"{memory_many / memory:.2f}×",
            f"≤ +{MEMORY_MIB:.0f} MiB",
            growth <= MEMORY_MIB * MIB,
        ),
        Row(
            f"{lab.scale.suspended:,} suspended, CPU while idle",
            f"{cpu_many:.2f} %",
            f"none suspended: {cpu:.2f} %",
            target=f"≤ +{CPU_PERCENT} %",
            met=cpu_many - cpu <= CPU_PERCENT,
        ),
    ]


async def _idle(child: Child, seconds: float) -> tuple[float, int]:
    """Percent of one processor, and bytes of memory."""
    before = child.cpu_seconds()
    await asyncio.sleep(seconds)
    return (child.cpu_seconds() - before) / seconds * 100, child.memory()
