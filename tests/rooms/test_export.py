"""A conversation is exported whole, and read a piece at a time."""

from typing import Any

import orjson
import pytest

from outlast.client import Client, Refused, Unreachable
from outlast.services.export import Export
from tests.support.api import Api, MakeApi
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = pytest.mark.anyio


async def exported(api: Api, conversation_id: str) -> list[dict[str, Any]]:
    answer = await api.get(f"/v1/conversations/{conversation_id}/export")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert f"{conversation_id}.ndjson" in answer.headers["content-disposition"]
    assert answer.content.endswith(b"\n")
    return [orjson.loads(line) for line in answer.content.splitlines()]


async def looked_up(make_api: MakeApi) -> Api:
    steps = by_turn(["Let me. ", call(1, "look", where="there")], ["It is 42."])
    tools = FakeTools(look=lambda _: {"answer": 42})
    return await make_api(FakeModel(steps), agent=spec(tool("look")), tools=tools)


async def test_an_export_has_turns_steps_and_the_log_in_order(make_api: MakeApi) -> None:
    api = await looked_up(make_api)
    first = (await api.execute({"input": "one", "metadata": {"a": 1}})).json()
    talk = first["conversationId"]
    again = {"conversationId": talk, "memory": {"session": {"n": 2}}}
    second = (await api.execute({"input": "two", **again})).json()
    lines = await exported(api, talk)
    assert [line["type"] for line in lines if line["type"] != "event"] == [
        "conversation",
        *["execution", "step", "step", "step"] * 2,
        "end",
    ]
    head, one = lines[:2]
    assert (head["id"], head["agentName"], head["session"]) == (talk, "agent", {"n": 2})
    assert (one["id"], one["input"], one["output"]) == (first["id"], "one", "It is 42.")
    assert (one["turn"], one["metadata"], one["usage"]) == (1, {"a": 1}, first["usage"])
    model, looked, said = lines[2:5]
    assert (model["kind"], model["text"], said["text"]) == ("model", "Let me. ", "It is 42.")
    assert [wanted["name"] for wanted in model["toolCalls"]] == ["look"]
    assert (looked["parameters"], looked["result"]) == ({"where": "there"}, {"answer": 42})
    log = [line for line in lines if line["type"] == "event" and line["executionId"] == first["id"]]
    assert [log[0]["kind"], log[-1]["kind"]] == ["execution.created", "execution.completed"]
    assert log[0]["data"]["metadata"] == {"a": 1}
    assert [line["id"] for line in lines if line["type"] == "execution"][1] == second["id"]
    assert lines[-1] == {"type": "end", "executions": 2}


async def test_an_export_holds_superseded_work_and_little_memory(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.services.export._STEPS", 1)
    monkeypatch.setattr("outlast.store.executions.log._PAGE_CHARACTERS", 50)
    monkeypatch.setattr("outlast.store.executions.log._ROW_CHARACTERS", 40)
    api = await looked_up(make_api)
    run = (await api.execute({"input": "one"})).json()
    points = (await api.get(f"/v1/executions/{run['id']}/checkpoints")).json()["data"]
    await api.client.post(
        f"/v1/executions/{run['id']}/resume", json={"checkpointId": points[0]["id"]}
    )
    await api.rested(run["id"])
    lines = await exported(api, run["conversationId"])
    steps = [line for line in lines if line["type"] == "step"]
    assert [step["superseded"] for step in steps] == [False, True, True, False, False]
    log = [line["id"] for line in lines if line["type"] == "event"]
    assert len(log) == len({*log}) > 10


async def test_the_client_yields_an_export_and_knows_a_whole_one(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await looked_up(make_api)
    talk = (await api.execute({"input": "one"})).json()["conversationId"]
    transport = api.client._transport
    async with Client("http://house", api.key, transport=transport) as client:
        lines = [line async for line in client.export_conversation(talk)]
        assert lines == await exported(api, talk)
        with pytest.raises(Refused, match="conversation"):
            [line async for line in client.export_conversation("conv_" + "0" * 26)]

        async def cut(self: Export) -> Any:
            return
            yield

        monkeypatch.setattr(Export, "parts", cut)
        with pytest.raises(Unreachable, match="not complete"):
            [line async for line in client.export_conversation(talk)]


async def test_another_workspaces_conversation_is_not_exported(api: Api) -> None:
    talk = (await api.execute({"input": "one"})).json()["conversationId"]
    keys = api.core.services.keys
    other = await api.core.services.workspaces.put("other")
    api.client.headers["authorization"] = (await keys.create(other.id, "theirs")).secret
    assert (await api.get(f"/v1/conversations/{talk}/export")).status_code == 404
