"""Code agents start again where they were, and no recorded call is made again."""

import asyncio
from contextlib import suppress
from typing import Final

import httpx2
import pytest

from tests.support.deployment import Deployment

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
async def running(deployment: Deployment) -> Deployment:
    deployment.deploy(AGENTS, "clerks.py")
    await deployment.start()
    return deployment


def _calls(deployment: Deployment, order: str) -> list[str]:
    """The tool calls of an order, each as often as it was made."""
    return [
        call
        for call, said in deployment.tools.arguments.items()
        for one in said
        if one["order"] == order
    ]


def _requests_about(deployment: Deployment, order: str) -> list[str]:
    """The model requests about an order."""
    said = [request["messages"][-1]["content"] for request in deployment.provider.requests]
    return [text.removesuffix(f" {order}") for text in said if text.endswith(f" {order}")]


def _starts(deployment: Deployment, order: str) -> list[str]:
    """How its function was begun: with which keys of its state."""
    lines = (deployment.folder / "starts").read_text().splitlines()
    return [line.removeprefix(f"{order} ") for line in lines if line.startswith(f"{order} ")]


async def test_a_function_that_died_goes_on_from_its_checkpoint_and_repeats_no_recorded_call(
    running: Deployment,
) -> None:
    deployment = running
    name = await deployment.started("clerk", "tea")
    await deployment.tools.until(lambda: len(_calls(deployment, "tea")) == 1)
    deployment.tools.answering.clear()
    await deployment.tools.until(lambda: len(_calls(deployment, "tea")) == 2)
    fee, look = _calls(deployment, "tea")

    await deployment.again()

    await deployment.tools.until(lambda: len(_calls(deployment, "tea")) == 3)
    assert sorted(_calls(deployment, "tea")) == sorted([fee, look, look])
    deployment.tools.answering.set()
    approval = await deployment.pending(name)
    assert approval["kind"] == "approval"
    assert len(_starts(deployment, "tea")) == 2

    await deployment.again(AGENTS.replace("VERSION", "changed"))

    assert (await deployment.pending(name))["toolCallId"] == approval["toolCallId"]
    assert (await deployment.decide(name, approval["toolCallId"], True)).status_code == 200
    execution = await deployment.ended(name)
    assert execution["output"] == "1 2 1"
    assert _requests_about(deployment, "tea") == ["first", "second"]
    assert sorted(_calls(deployment, "tea")) == sorted([fee, look, look, approval["toolCallId"]])
    assert _starts(deployment, "tea")[0] == "VERSION []"
    assert set(_starts(deployment, "tea")[1:-1]) == {"VERSION ['fee']"}
    assert _starts(deployment, "tea")[-1] == "changed ['fee']"
    log = await deployment.log(name)
    [shown, *again] = log.of("custom")
    assert (shown["data"], again) == ({"fee": {"count": 1}}, [])
    assert [call["name"] for call in execution["toolCalls"]] == ["fee", "look", "pay"]
    assert len(log.of("tool_call_end")) == 3


async def test_a_deletion_that_dies_while_a_function_does_not_leave_is_done_by_the_next(
    running: Deployment,
) -> None:
    deployment = running
    answer = await deployment.post("/v1/execution", name="x", agent_id="stubborn", input="wood")
    task = answer.json()["data"]["id"]
    closed = deployment.provider.cut_by_client
    async for _, data in deployment.stream(task):
        if b"text_delta" in data:
            break
    deleting = asyncio.create_task(_delete(deployment, task))
    await deployment.provider.wait_cut(closed + 1)

    await deployment.again()

    await deleting
    await deployment.log(task)
    found = await deployment.get(f"/v1/execution/{task}")
    assert found["data"]["status"] == "terminated"
    assert _requests_about(deployment, "wood") == ["stubborn"]
    assert _calls(deployment, "wood") == []
    assert (await deployment.clients[0].delete(f"/v1/execution/{task}")).status_code == 204
    assert (await deployment.clients[1].get(f"/v1/execution/{task}")).status_code == 404


async def _delete(deployment: Deployment, task: str) -> None:
    """Ask for it; the server dies before it answers."""
    with suppress(httpx2.TransportError):
        answer = await deployment.clients[0].delete(f"/v1/execution/{task}")
        raise AssertionError(answer.text)
