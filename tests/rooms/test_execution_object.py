"""What an execution object says: who ran on what, and its output while it runs."""

import asyncio
from typing import Any

import pytest

from outlast.agents.port import ModelRequest
from outlast.model.error import ModelUnavailable
from tests.support.api import Api, MakeApi, frames
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio


async def shows(api: Api, execution_id: str, output: str | None) -> dict[str, Any]:
    """Return what GET shows once it has this output; text is written within some 50 ms."""

    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] = (await api.get(f"/v1/executions/{execution_id}")).json()
        return found if found["output"] == output else None

    return await until_found(look, 10)


async def test_get_shows_what_the_open_step_has_said(make_api: MakeApi) -> None:
    rest = asyncio.Event()
    api = await make_api(FakeModel(lambda _: ["Once ", "upon ", rest, "a time"]))
    execution = await api.started()

    found = await shows(api, execution, "Once upon ")
    assert (found["status"], found["completedAt"]) == ("running", None)
    rest.set()
    assert (await api.rested(execution))["output"] == "Once upon a time"


async def test_the_open_step_takes_the_place_of_the_step_before_once_it_speaks(
    make_api: MakeApi,
) -> None:
    speak, end = asyncio.Event(), asyncio.Event()
    model = FakeModel(by_turn(["I look.", call(1, "look")], [speak, "Found", end, " it."]))
    api = await make_api(model, spec(tool("look")), FakeTools(look=lambda _: 1))
    execution = await api.started()

    found = await shows(api, execution, "I look.")
    assert found["status"] == "running"
    speak.set()
    await shows(api, execution, "Found")
    end.set()
    assert (await api.rested(execution))["output"] == "Found it."


async def test_text_of_a_request_that_failed_is_not_shown(make_api: MakeApi) -> None:
    end = asyncio.Event()

    def play(_: ModelRequest) -> Reply:
        tries.append(1)
        return ["Wrong", ModelUnavailable("away")] if len(tries) == 1 else ["Right", end]

    tries: list[int] = []
    api = await make_api(FakeModel(play), model_retries=1)
    execution = await api.started()

    found = await shows(api, execution, "Right")
    assert found["status"] == "running"
    end.set()
    await api.rested(execution)


async def test_a_paused_execution_does_not_show_the_step_that_runs_again(make_api: MakeApi) -> None:
    api = await make_api(FakeModel(lambda _: ["Half", asyncio.Event()]))
    execution = await api.started()
    await shows(api, execution, "Half")
    await api.client.post(f"/v1/executions/{execution}/pause", json={"now": True})

    found = await shows(api, execution, None)
    assert found["status"] == "paused"
    await api.client.post(f"/v1/executions/{execution}/cancel")


async def test_every_answer_has_the_input_and_the_agents_name(api: Api) -> None:
    waited = (await api.execute({"input": "Où ?", "metadata": {"input": "no"}})).json()
    assert (waited["input"], waited["agentName"]) == ("Où ?", "agent")

    got = await api.rested(waited["id"])
    listed = (await api.get("/v1/executions")).json()["data"]
    streamed = await api.get(f"/v1/executions/{waited['id']}/stream")
    assert got == waited
    assert listed == [waited]
    assert frames(streamed.content)[-1][1]["execution"] == waited


async def test_a_live_stream_ends_with_the_same_object_in_every_room(api: Api) -> None:
    live = await api.execute({"input": "Hi", "stream": True})
    execution = frames(live.content)[-1][1]["execution"]
    assert (execution["input"], execution["agentName"]) == ("Hi", "agent")
    assert execution == await api.rested(execution["id"])

    path = f"/run/api/executions/{execution['id']}/stream"
    again = await api.get(path, format="native")
    assert frames(again.content)[-1][1]["execution"] == execution


async def test_a_streams_last_frame_has_the_user_live_and_later(api: Api) -> None:
    live = await api.execute({"input": "Hi", "user": "ann", "stream": True})
    execution = frames(live.content)[-1][1]["execution"]
    assert execution["user"] == "ann"
    assert execution == await api.rested(execution["id"])
    again = await api.get(f"/v1/executions/{execution['id']}/stream")
    assert frames(again.content)[-1][1]["execution"] == execution

    conversation = {"input": "And?", "conversationId": execution["conversationId"]}
    next_turn = await api.execute({**conversation, "stream": True})
    execution = frames(next_turn.content)[-1][1]["execution"]
    assert execution == await api.rested(execution["id"])
    listed = (await api.get("/v1/conversations", user="ann")).json()["data"]
    assert [one["id"] for one in listed] == [execution["conversationId"]]


async def test_a_clients_own_task_says_the_client_or_the_agent_that_it_names(
    api: Api,
) -> None:
    for named, name in (({}, "client"), ({"agent_id": "agent"}, "agent")):
        made = await api.client.post("/v1/execution", json={"name": "Import", **named})
        task = made.json()["data"]["id"]
        await api.client.post(f"/v1/execution/{task}/complete", json={})

        found = (await api.get(f"/v1/executions/{task}")).json()
        assert (found["agentName"], found["input"]) == (name, "Import")
        streamed = await api.get(f"/v1/executions/{task}/stream")
        assert frames(streamed.content)[-1][1]["execution"] == found


async def test_a_purged_execution_keeps_the_name_and_not_the_input(api: Api) -> None:
    done = (await api.execute({"input": "Secret"})).json()
    await api.client.delete(f"/v1/conversations/{done['conversationId']}")
    found = (await api.get(f"/v1/executions/{done['id']}")).json()
    assert (found["input"], found["agentName"], found["isPurged"]) == ("", "agent", True)


async def test_an_agent_whose_version_cannot_be_read_still_has_its_name(make_api: MakeApi) -> None:
    api = await make_api()
    done = (await api.execute({"input": "Hi"})).json()
    api.core.services.agents.known._found.clear()
    api.core.services.agents.known._names.clear()
    found = (await api.get(f"/v1/executions/{done['id']}")).json()
    assert found["agentName"] == "agent"
