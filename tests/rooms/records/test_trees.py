"""Records as trees: what is charged has a node, and every node's children add up to it."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.engine.maintenance.retention import PURGE
from outlast.model.agent import AgentSpec
from outlast.model.error import ToolFailed
from outlast.model.event import START
from outlast.model.ids import CONVERSATION, EXECUTION
from outlast.model.price import NANO
from outlast.model.retention import Plans
from outlast.model.workspace import Plan
from outlast.store.executions.values import NewExecution
from outlast.testing import FakeClock
from tests.rooms.test_fold import same_as_get
from tests.support.api import Api, MakeApi
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.records_room import (
    MODEL,
    PATH,
    PRICES,
    Node,
    one,
    page,
    sound,
    tree,
    uuid,
    walk,
)
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.trees import CHILD, heard, said
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio
LOOKS: list[Reply] = [["Look. ", call(n, "look", secret=f"hidden {n}")] for n in range(1, 4)]
SAID = ("Where?", "Look. ", "hidden", "seen", "All well.")
"""What was said in a run, in pieces that occur nowhere else."""


async def looking(make_api: MakeApi, **more: Any) -> Api:
    model = more.pop("model", None) or FakeModel(by_turn(*LOOKS, ["All well."]))
    tools = more.pop("tools", None) or FakeTools(look=lambda _: "seen")
    return await make_api(model, spec(tool("look")), tools, prices=PRICES, **more)


async def ran(api: Api) -> dict[str, Any]:
    execution: dict[str, Any] = (await api.execute({"input": "Where?"})).json()
    return execution


async def rolled_back(api: Api, execution_id: str, step: int) -> None:
    path = f"/v1/executions/{execution_id}"
    checkpoints = (await api.get(f"{path}/checkpoints")).json()["data"]
    stand = [c["id"] for c in checkpoints if not c["superseded"]]
    body = {"checkpointId": stand[step % len(stand)]}
    answer = await api.client.post(f"{path}/resume", json=body)
    assert answer.status_code == 200, answer.text
    await api.rested(execution_id)


async def child_of(api: Api, execution_id: str) -> str:
    """An execution that another one made; the services cannot make one yet."""
    core = api.core
    parent = await core.store.executions.get(api.caller.workspace_id, execution_id)
    new = NewExecution(
        id=core.clock.new_id(EXECUTION),
        workspace_id=parent.workspace_id,
        agent_id=parent.agent_id,
        agent_version=parent.agent_version,
        conversation_id=core.clock.new_id(CONVERSATION),
        new_conversation=True,
        input="Where?",
        at=core.clock.now(),
        parent_id=parent.id,
    )
    child = (await core.store.executions.create(new)).execution.id
    await api.rested(child)
    return child


def kinds(node: Node) -> list[str]:
    return [child["detail"]["type"] for child in node["children"]]


async def test_a_run_is_its_steps_in_their_order(make_api: MakeApi) -> None:
    def look(arguments: dict[str, Any]) -> Any:
        return ToolFailed("blind") if arguments["secret"] == "hidden 2" else {"a": 1}

    api = await looking(make_api, tools=FakeTools(look=look))
    root = await tree(api, (await ran(api))["id"])
    await sound(api, root)
    assert kinds(root) == ["model", "tool"] * 3 + ["model"]
    answer, seen, _, blind, *_, last = root["children"]
    assert answer["detail"] == {
        "type": "model",
        "model": "actor-1",
        "usage": root["detail"]["usage"]
        | {
            "inputTokens": 10,
            "outputTokens": 5,
            "totalTokens": 15,
            "cacheReadTokens": 3,
            "cacheWriteTokens": 1,
        },
        "finishReason": "tool_calls",
        "superseded": False,
    }
    assert seen["detail"] == {
        "type": "tool",
        "toolName": "look",
        "toolCallId": uuid(call(1, "look").id),
        "input": {"secret": "hidden 1"},
        "output": {"a": 1},
        "error": None,
        "superseded": False,
    }
    assert (blind["status"], blind["detail"]["output"]) == ("failed", None)
    assert blind["detail"]["error"] == "blind"
    assert {node["isAgentic"] for node in root["children"]} == {False}
    assert {node["responderId"] for node in root["children"]} == {root["responderId"]}
    assert answer["creditsUsed"] * 10**9 == MODEL
    assert seen["creditsUsed"] * 10**9 == 5
    assert last["endedAt"] <= root["endedAt"]
    assert root["creditsUsed"] * 10**9 == 4 * MODEL + 3 * 5


async def test_what_a_roll_back_takes_back_stays_and_counts(make_api: MakeApi) -> None:
    api = await looking(make_api)
    execution_id = (await ran(api))["id"]
    before = [node["id"] for node in await sound(api, await tree(api, execution_id))]
    await rolled_back(api, execution_id, 1)
    root = await tree(api, execution_id)
    await sound(api, root)
    superseded = [n["detail"]["superseded"] for n in root["children"]]
    assert superseded == [False] * 2 + [True] * 5 + [False] * 5
    assert [node["id"] for node in walk(root)][: len(before)] == before
    assert root["creditsUsed"] * 10**9 == 7 * MODEL + 5 * 5
    shown = (await api.get(f"/v1/executions/{execution_id}")).json()
    assert Decimal(str(shown["creditsUsed"])) == root["creditsUsed"]


async def test_a_request_that_a_pause_has_closed_is_a_node_of_its_own(make_api: MakeApi) -> None:
    gate = asyncio.Event()
    replies: list[Reply] = [["half ", gate], ["Whole."]]
    model = FakeModel(lambda _: replies[len(model.requests) - 1])
    api = await looking(make_api, model=model)
    execution_id = await api.started(input="Where?")
    workspace = api.caller.workspace_id
    async with asyncio.timeout(BOUND):
        while "half" not in str(
            await api.core.store.executions.log(workspace, execution_id, START, 99)
        ):
            await between_looks()
    await api.client.post(f"/v1/executions/{execution_id}/pause", json={"now": True})
    root = await tree(api, execution_id)
    await sound(api, root)
    (closed,) = root["children"]
    assert (root["status"], closed["status"], closed["isAgentic"]) == ("paused", "cancelled", False)
    assert closed["detail"]["type"] == "model"
    assert closed["detail"]["model"] == "actor"
    assert closed["detail"]["finishReason"] == "paused"
    assert closed["detail"]["superseded"] is True
    usage = closed["detail"]["usage"]
    cost = usage["inputTokens"] * 7 + usage["outputTokens"] * 11
    assert closed["creditsUsed"] * 10**9 == cost > 0
    await api.client.post(f"/v1/executions/{execution_id}/resume")
    await api.rested(execution_id)
    root = await tree(api, execution_id)
    await sound(api, root)
    assert root["children"][0] == closed
    assert root["creditsUsed"] * 10**9 == cost + MODEL
    shown = await same_as_get(api, execution_id)
    assert Decimal(str(shown["creditsUsed"])) == root["creditsUsed"]


async def test_executions_below_one_are_its_children_and_count(make_api: MakeApi) -> None:
    api = await looking(make_api)
    root_id = (await ran(api))["id"]
    child = await child_of(api, root_id)
    grandchild = await child_of(api, child)
    other = (await ran(api))["id"]
    root = await tree(api, root_id)
    await sound(api, root)
    (below,) = [node for node in root["children"] if node["isAgentic"]]
    assert (below["id"], below["parentId"]) == (uuid(child), uuid(root_id))
    own = 4 * MODEL + 3 * 5
    assert root["creditsUsed"] * 10**9 == 3 * own
    assert below["creditsUsed"] * 10**9 == 2 * own
    listed = {record["id"]: record["creditsUsed"] * 10**9 for record in await page(api)}
    assert listed == {
        uuid(other): own,
        uuid(grandchild): own,
        uuid(child): 2 * own,
        uuid(root_id): 3 * own,
    }
    responder = root["responderId"]
    assert await page(api, responderIds=responder) == await page(api)
    assert await tree(api, child) == below


async def test_a_purge_leaves_every_node_with_its_credits_and_nothing_of_what_was_said(
    make_api: MakeApi,
) -> None:
    api = await looking(make_api)
    execution = await ran(api)
    await rolled_back(api, execution["id"], 1)
    before = await tree(api, execution["id"])
    assert all(word in str(before) for word in SAID[:1] + SAID[2:])
    conversation = f"/v1/conversations/{execution['conversationId']}"
    message = (await api.get(conversation)).json()["turns"][-1]["id"]
    await api.client.delete(conversation)
    after = await tree(api, execution["id"])
    nodes = await sound(api, after)
    assert not [word for word in SAID if word in str(after)]
    assert all(node["isPurged"] for node in nodes)
    for left, node in zip(walk(before), nodes, strict=True):
        kept = {"creditsUsed", "id", "parentId", "status", "startedAt", "endedAt", "responderId"}
        assert {name: left[name] for name in kept} == {name: node[name] for name in kept}
        assert set(left["detail"]) == set(node["detail"])
    agent, model, called = nodes[0]["detail"], nodes[1]["detail"], nodes[2]["detail"]
    assert (agent["input"], agent["output"], agent["model"]) == ("", None, "actor-1")
    assert model == before["children"][0]["detail"]
    assert (called["toolName"], called["input"], called["output"]) == ("look", {}, None)
    assert agent["usage"] == before["detail"]["usage"]
    found = await api.get(f"{PATH}/nestings", chatMessageId=message)
    assert found.json()["id"] == after["id"]
    shown = (await api.get(f"/v1/executions/{execution['id']}")).json()
    assert (shown["toolCalls"], shown["output"], shown["isPurged"]) == ([], None, True)


async def test_retention_leaves_the_tree_of_a_conversation_whose_agents_called_others(
    make_api: MakeApi,
) -> None:
    def play(request: ModelRequest) -> Reply:
        given = heard(request)
        if given:
            return [f"All well: {given[0]}"]
        return [call(2, "look") if said(request) == "lower" else call(1, "helper", input="lower")]

    clock = FakeClock()
    tools = FakeTools(helper=CHILD, look=lambda _: "seen")
    more: dict[str, Any] = {"prices": PRICES, "plans": Plans(default=Plan.STARTER), "clock": clock}
    api = await make_api(FakeModel(play), spec(agent_tool("helper")), tools, **more)
    helper = AgentSpec("helper", "actor", tools=(tool("look"),))
    await api.core.services.agents.put(api.caller.workspace_id, [(helper, "1")])
    await api.core.maintenance.hold(PURGE)
    execution = await ran(api)
    before = await tree(api, execution["id"])
    assert len(list(walk(before))) == 2 * 4
    clock.advance(90 * 24 * 60 * 60)
    assert await api.core.maintenance.run(PURGE) == 1
    after = await tree(api, execution["id"])
    nodes = await sound(api, after)
    assert not [word for word in ("lower", "seen", "All well") if word in str(after)]
    assert [(node["id"], node["creditsUsed"]) for node in nodes] == [
        (node["id"], node["creditsUsed"]) for node in walk(before)
    ]
    assert after["creditsUsed"] * NANO == 4 * MODEL + 5
    assert all(node["isPurged"] for node in nodes)
    (listed,) = [one for one in await page(api) if one["parentId"] is None]
    assert (listed["isPurged"], listed["creditsUsed"]) == (True, after["creditsUsed"])


async def test_a_purge_forgets_what_errors_said(make_api: MakeApi) -> None:
    def look(_: Any) -> Any:
        return ToolFailed("secret of the tool")

    agent_fails: list[Reply] = [[call(1, "look")], [RuntimeError("secret of the model")]]  # type: ignore[list-item]

    def play(request: Any) -> Reply:
        reply = by_turn(*agent_fails)(request)
        if isinstance(reply[0], RuntimeError):
            raise ToolFailed("secret of the model")
        return reply

    api = await looking(make_api, model=FakeModel(play), tools=FakeTools(look=look))
    execution = await ran(api)
    before = await tree(api, execution["id"])
    assert str(before).count("secret of the") == 2
    await api.client.delete(f"/v1/conversations/{execution['conversationId']}")
    after = await tree(api, execution["id"])
    await sound(api, after)
    assert "secret" not in str(after)
    assert (after["status"], after["children"][1]["status"]) == ("failed", "failed")
    error = before["detail"]["error"] | {"message": ""}
    assert after["detail"]["error"] == error
    assert after["children"][1]["detail"]["error"] is None
    for path in (f"/v1/executions/{execution['id']}", "/v1/events"):
        assert "secret" not in (await api.get(path)).text


async def test_a_deleted_execution_is_gone_with_its_steps_and_its_closed_requests(
    make_api: MakeApi,
) -> None:
    api = await looking(make_api)
    execution_id = (await ran(api))["id"]
    nodes = list(walk(await tree(api, execution_id)))
    await api.client.delete(f"/v1/executions/{execution_id}")
    for node in nodes:
        assert (await api.get(f"{PATH}/{node['id']}")).status_code == 404
        found = await api.get(f"{PATH}/nestings", executionId=node["id"])
        assert found.status_code == 404
    assert await page(api) == []


async def test_a_step_alone_is_a_tree_without_children(api: Api) -> None:
    root = await tree(api, (await ran(api))["id"])
    (step,) = root["children"]
    assert await tree(api, step["id"]) == step
    assert await one(api, step["id"]) == {k: v for k, v in step.items() if k != "children"}


moves = st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 6, "child", "child of the child"]), max_size=6)


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(moves)
async def test_whatever_happens_to_an_execution_its_tree_adds_up(
    property_api: Api, moves: list[Any]
) -> None:
    api = property_api
    execution_id = (await ran(api))["id"]
    below = execution_id
    for move in moves:
        if isinstance(move, int):
            await rolled_back(api, execution_id, move)
        elif move == "child":
            below = await child_of(api, execution_id)
        else:
            below = await child_of(api, below)
    root = await tree(api, execution_id)
    nodes = await sound(api, root)
    row = (await api.get(f"/v1/executions/{execution_id}")).json()
    children = [node for node in root["children"] if node["isAgentic"]]
    own = root["creditsUsed"] - sum(child["creditsUsed"] for child in children)
    assert own == Decimal(str(row["creditsUsed"]))
    costs = [n["creditsUsed"] for n in nodes if not n["isAgentic"]]
    assert sum(costs) == root["creditsUsed"]


@pytest.fixture
async def property_api(make_api: MakeApi) -> Api:
    """One server for all examples: each begins a run of its own."""
    return await looking(make_api)


LONG = 4000
"""Characters of each text of a large tree."""
