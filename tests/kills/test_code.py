"""Code agents start again where they were, and no recorded call is made again."""

import asyncio
from contextlib import suppress
from typing import Final

import httpx2
import pytest

from tests.kills.world import Site

pytestmark = pytest.mark.anyio

AGENTS: Final = """
import asyncio
from pathlib import Path

from outlast import Agent, Context, agent
from outlast.model.agent import Effect, HttpCall, ToolSpec


def tool(name: str, effect: Effect, **more: bool) -> ToolSpec:
    schema = {"type": "object", "properties": {"order": {"type": "string"}}}
    return ToolSpec(name, name, schema, effect, http=HttpCall("TOOLS", timeout=100), **more)


OFFERED = (
    tool("fee", Effect.DESTRUCTIVE),
    tool("look", Effect.IDEMPOTENT),
    tool("pay", Effect.DESTRUCTIVE, approval=True),
)


@agent(model="openai-chat:words-5", tools=OFFERED)
async def clerk(ctx: Context, given: str) -> str:
    with Path(__file__).with_name("starts").open("a") as starts:
        starts.write(f"{given} VERSION {sorted(ctx.state)}\\n")
    if "fee" not in ctx.state:
        await ctx.model(f"first {given}")
        fee = await ctx.tool("fee", order=given)
        await ctx.checkpoint({"fee": fee}, "paid the fee")
    await ctx.emit("half", ctx.state)
    await ctx.model(f"second {given}")
    seen = await ctx.tool("look", order=given)
    paid = await ctx.tool("pay", order=given)
    return f"{ctx.state['fee']['count']} {seen['count']} {paid['count']}"


@agent(model="openai-chat:hang", tools=OFFERED)
async def stubborn(ctx: Context, given: str) -> None:
    try:
        await ctx.model(f"stubborn {given}")
    finally:
        await asyncio.Event().wait()
    await ctx.tool("fee", order=given)


agents: list[Agent] = [clerk, stubborn]
"""


@pytest.fixture(scope="module")
async def running(site: Site) -> Site:
    site.deploy(AGENTS, "clerks.py")
    await site.start()
    return site


def _calls(site: Site, order: str) -> list[str]:
    """The tool calls of an order, each as often as it was made."""
    return [
        call for call, said in site.tools.arguments.items() for one in said if one["order"] == order
    ]


def _asked(site: Site, order: str) -> list[str]:
    """The model requests about an order."""
    said = [request["messages"][-1]["content"] for request in site.provider.requests]
    return [text.removesuffix(f" {order}") for text in said if text.endswith(f" {order}")]


def _starts(site: Site, order: str) -> list[str]:
    """How its function was begun: with which keys of its state."""
    lines = (site.folder / "starts").read_text().splitlines()
    return [line.removeprefix(f"{order} ") for line in lines if line.startswith(f"{order} ")]


async def test_a_function_that_died_goes_on_from_its_checkpoint_and_repeats_no_recorded_call(
    running: Site,
) -> None:
    site = running
    name = await site.started("clerk", "tea")
    await site.tools.until(lambda: len(_calls(site, "tea")) == 1)
    site.tools.answering.clear()
    await site.tools.until(lambda: len(_calls(site, "tea")) == 2)
    fee, look = _calls(site, "tea")

    await site.again()

    await site.tools.until(lambda: len(_calls(site, "tea")) == 3)
    assert sorted(_calls(site, "tea")) == sorted([fee, look, look])
    site.tools.answering.set()
    asked = await site.pending(name)
    assert asked["kind"] == "approval"
    assert len(_starts(site, "tea")) == 2

    await site.again(AGENTS.replace("VERSION", "changed"))

    assert (await site.pending(name))["toolCallId"] == asked["toolCallId"]
    assert (await site.decide(name, asked["toolCallId"], True)).status_code == 200
    execution = await site.ended(name)
    assert execution["output"] == "1 2 1"
    assert _asked(site, "tea") == ["first", "second"]
    assert sorted(_calls(site, "tea")) == sorted([fee, look, look, asked["toolCallId"]])
    assert _starts(site, "tea")[0] == "VERSION []"
    assert set(_starts(site, "tea")[1:-1]) == {"VERSION ['fee']"}
    assert _starts(site, "tea")[-1] == "changed ['fee']"
    log = await site.log(name)
    [told, *again] = log.of("custom")
    assert (told["data"], again) == ({"fee": {"count": 1}}, [])
    assert [call["name"] for call in execution["toolCalls"]] == ["fee", "look", "pay"]
    assert len(log.of("tool_call_end")) == 3


async def test_a_deletion_that_dies_while_a_function_does_not_leave_is_done_by_the_next(
    running: Site,
) -> None:
    site = running
    answer = await site.post("/v1/execution", name="x", agent_id="stubborn", input="wood")
    task = answer.json()["data"]["id"]
    closed = site.provider.cut_by_client
    async for _, data in site.stream(task):
        if b"text_delta" in data:
            break
    deleting = asyncio.create_task(_delete(site, task))
    await site.provider.wait_cut(closed + 1)

    await site.again()

    await deleting
    await site.log(task)
    found = await site.get(f"/v1/execution/{task}")
    assert found["data"]["status"] == "terminated"
    assert _asked(site, "wood") == ["stubborn"]
    assert _calls(site, "wood") == []
    assert (await site.doors[0].delete(f"/v1/execution/{task}")).status_code == 204
    assert (await site.doors[1].get(f"/v1/execution/{task}")).status_code == 404


async def _delete(site: Site, task: str) -> None:
    """Ask for it; the server dies before it answers."""
    with suppress(httpx2.TransportError):
        answer = await site.doors[0].delete(f"/v1/execution/{task}")
        raise AssertionError(answer.text)
