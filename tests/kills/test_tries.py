"""An execution that kills every process it runs in ends, and takes no other along."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import httpx2
import pytest

from tests.support.deployment import Deployment
from tests.support.processes import DidNotStartError, OutlastProcess
from tests.support.waiting import BOUND, until_found

pytestmark = pytest.mark.anyio

TRIES: Final = 3
AGENTS: Final = """
import os
import signal
from pathlib import Path

from outlast import Agent, Context, agent, tool


def died(name: str) -> None:
    with Path(__file__).with_name(name).open("a") as deaths:
        deaths.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


@tool(effect="idempotent")
def poison() -> str:
    died("tool")


@agent(model="openai-chat:words-5")
async def function(ctx: Context, given: str) -> str:
    died("function")


@agent(model="openai-chat:words-5", tools=[poison])
async def caller(ctx: Context, given: str) -> str:
    await ctx.model(given)
    await ctx.tool("poison")
    return "never"


good = Agent("good", model="openai-chat:words-5")
agents: list[Agent] = [function, caller, good]
"""


@pytest.fixture(scope="module")
async def running(deployment: Deployment) -> AsyncIterator[Deployment]:
    """Processes that a supervisor starts again whenever they die."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTLAST_MAX_TRIES", str(TRIES))
        deployment.deploy(AGENTS, "pills.py")
        await deployment.start()
        over = asyncio.Event()
        watching = [
            asyncio.create_task(_supervise(one, over)) for one in deployment.processes.values()
        ]
        yield deployment
        over.set()
        for process in deployment.processes.values():
            if process.runs:
                os.kill(process.pid, signal.SIGKILL)
        await asyncio.gather(*watching)


async def _supervise(process: OutlastProcess, over: asyncio.Event) -> None:
    while True:
        await process.ended()
        if over.is_set():
            return
        try:
            await process.start()
        except DidNotStartError:
            if over.is_set():
                return
            raise


@pytest.mark.parametrize(("name", "deaths"), [("function", TRIES), ("caller", TRIES + 1)])
async def test_an_execution_that_kills_its_process_each_time_ends_after_its_tries(
    running: Deployment, name: str, deaths: int
) -> None:
    deployment = running

    async def ended(execution: str) -> bool:
        with suppress(httpx2.TransportError, AssertionError):
            return (await deployment.execution(execution))["status"] in ("failed", "completed")
        return False

    async def newest() -> str:
        with suppress(httpx2.TransportError, AssertionError):
            found = (await deployment.get("/v1/executions"))["data"][0]["id"]
            return "" if found == good else str(found)
        return ""

    good = await deployment.started("good")
    with suppress(httpx2.TransportError):  # its process may die before it answers
        await deployment.started(name)
    pill = await until_found(newest, BOUND)
    await until_found(lambda: ended(pill), BOUND)
    await until_found(lambda: ended(good), BOUND)

    failed = await deployment.execution(pill)
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "internal_error"
    assert f"tried {TRIES} times without progress" in failed["error"]["message"]
    place = "tool" if name == "caller" else name
    # the caller's first life has recorded a step: the tries begin behind it
    assert len((deployment.folder / place).read_text()) == deaths
    assert (await deployment.execution(good))["status"] == "completed"
