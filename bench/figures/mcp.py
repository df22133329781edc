"""Processor time of a call of an MCP tool, beyond what the tool's server takes.

The calls are made in this process as a server makes them; the official SDK's server is another
one, over HTTP and as a command.
"""

import asyncio
import os
import sys
import time

from bench.lab import Lab
from bench.process import READY_SECONDS, Child, free_port
from bench.table import Row, median
from outlast import mcp_tools
from outlast.agents.port import ToolContext
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import AgentSpec, ToolSpec
from outlast.model.clock import SystemClock

TARGET_MS = 3.0
AT_ONCE = (1, 50)
_SERVER = "bench.mcp_server"
_CONTEXT = ToolContext("", "", "tc_bench")


async def measure(lab: Lab) -> list[Row]:
    """Over HTTP and as a command, one call at a time and many."""
    port = free_port()
    child = Child.module(_SERVER, lab.log("mcp"), "--port", str(port))
    box = ToolBox(SystemClock(), environ=os.environ)
    sources = {
        "HTTP": mcp_tools("bench", url=f"http://127.0.0.1:{port}/mcp")[0],
        "a command": mcp_tools("bench", command=sys.executable, args=["-m", _SERVER])[0],
    }
    rows: list[Row] = []
    try:
        await _listening(port)
        for name, source in sources.items():
            listed = await box.listed(AgentSpec("bench", "none", tools=(source,)), _CONTEXT)
            (tool,) = listed.offered
            for at_once in AT_ONCE:
                rounds = [await _round(lab, box, tool, at_once) for _ in range(lab.scale.rounds)]
                rows.append(_row(name, at_once, median(rounds)))
    finally:
        await box.close()
        await child.stop()
    return rows


async def _listening(port: int) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def _round(lab: Lab, box: ToolBox, tool: ToolSpec, at_once: int) -> float:
    """Return the milliseconds of processor time of one call."""

    async def calls(number: int) -> None:
        for _ in range(number):
            found = await box.call(tool, {"a": 1, "b": 2}, _CONTEXT)
            assert found == {"result": 3}

    await calls(5)
    each = max(1, lab.scale.runs // at_once)
    began = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(calls(each))
    return (time.process_time() - began) / (each * at_once) * 1000


def _row(name: str, at_once: int, millis: float) -> Row:
    return Row(
        f"CPU per call of an MCP tool, {name}, {at_once} at a time",
        f"{millis:.2f} ms",
        target=f"≤ {TARGET_MS:.0f} ms",
        met=millis <= TARGET_MS,
    )
