"""Calls that the client runs, over HTTP: what is declared, answered, and refused."""

from dataclasses import replace
from typing import Any

import pytest

from outlast.agents.tools.builtin import builtin_spec
from outlast.agents.tools.client_kind import client_tool
from outlast.agents.tools.toolbox import ToolBox
from outlast.engine.maintenance.due_waits import DUE_WAITS
from outlast.model.agent import AgentSpec
from outlast.model.client_call import MAX_RESULT_BYTES, MAX_TOOLS
from outlast.model.clock import SystemClock
from outlast.model.message import ToolCall
from outlast.model.workspace import Scope
from outlast.testing import FakeClock
from tests.support.api import Api, MakeApi
from tests.support.databases import Database
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call

pytestmark = pytest.mark.anyio
LOCATE = {"name": "locate", "description": "Where?", "parameters": {"type": "object"}}
ROOMS = ["/v1/executions", "/run/api/executions"]
NO_CALL = "There is no such call for the client to run."
ANOTHER = "This call has another result already; the first one stands."
NOTHING_WAITS = "No call of this run waits for a result of the client."


def model(*calls: ToolCall) -> FakeModel:
    return FakeModel(by_turn(["Where are you?", *(calls or (call(1, "locate"),))], ["I see."]))


def agent(*tools: Any) -> AgentSpec:
    return AgentSpec("agent", "actor", tools=tools or (client_tool("locate", timeout=60),))


async def suspended(make_api: MakeApi, clock: Any = None, **more: Any) -> tuple[Api, str]:
    clock = clock or SystemClock()
    api = await make_api(model(), agent(), ToolBox(clock), clock=clock, **more)
    run = await api.execute({"input": "Hello"})
    assert run.json()["status"] == "suspended"
    return api, str(run.json()["id"])


async def answered(api: Api, run: str, body: Any, room: str = ROOMS[0], number: int = 1) -> Any:
    return await api.client.post(f"{room}/{run}/client-calls/{call(number, '').id}", json=body)


def message(answer: Any) -> str:
    error = answer.json()["error"]
    return str(error if isinstance(error, str) else error["message"])


@pytest.mark.parametrize("room", ROOMS)
async def test_what_is_no_result_is_refused_in_the_shape_of_the_room(
    make_api: MakeApi, room: str
) -> None:
    api, run = await suspended(make_api)
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    bodies = {
        "Give either result or error.": ({}, {"result": 1, "error": "x"}),
        "The result is": ({"result": "x" * MAX_RESULT_BYTES},),
        "nested": ({"result": deep},),
    }
    for words, refused in bodies.items():
        for body in refused:
            answer = await answered(api, run, body, room)
            assert answer.status_code in (400, 422), answer.text
            assert words in message(answer)
    unknown = await answered(api, run, {"result": 1}, room, number=2)
    assert (unknown.status_code, message(unknown)) == (404, NO_CALL)
    elsewhere = await answered(api, f"exec_{'0' * 26}", {"result": 1}, room)
    assert elsewhere.status_code == 404
    assert (await api.rested(run))["pendingClientCalls"]


@pytest.mark.parametrize("room", ROOMS)
async def test_the_first_result_stands_and_repeating_it_is_accepted(
    make_api: MakeApi, room: str
) -> None:
    api, run = await suspended(make_api)
    for _ in range(2):
        assert (await answered(api, run, {"result": {"city": "Rome"}}, room)).status_code == 200
    for other in ({"result": {"city": "Bonn"}}, {"error": "x"}, {"result": None}):
        answer = await answered(api, run, other, room)
        assert (answer.status_code, message(answer)) == (409, ANOTHER)
    done = await api.rested(run)
    assert (done["status"], done["output"]) == ("completed", "I see.")
    assert [one["result"] for one in done["toolCalls"]] == [{"city": "Rome"}]
    assert "pendingClientCalls" not in done
    assert (await answered(api, run, {"result": {"city": "Rome"}}, room)).status_code == 200


@pytest.mark.parametrize("room", ROOMS)
async def test_a_result_after_a_cancel_or_after_its_time_is_a_conflict(
    make_api: MakeApi, room: str
) -> None:
    clock = FakeClock()
    api, run = await suspended(make_api, clock)
    (shown,) = (await api.get("/v1/executions?status=suspended")).json()["data"]
    assert [one["name"] for one in shown["pendingClientCalls"]] == ["locate"]
    assert (await api.client.post(f"/v1/executions/{run}/cancel")).status_code == 200
    late = await answered(api, run, {"result": 1}, room)
    assert (late.status_code, message(late)) == (
        409,
        "The execution is cancelled; nothing is to be decided.",
    )
    run = (await api.execute({"input": "Again"})).json()["id"]
    clock.advance(61)
    await api.core.maintenance.run(DUE_WAITS)
    late = await answered(api, run, {"result": 1}, room)
    assert (late.status_code, message(late)) == (
        409,
        "The time for this call's result is over; the model has read so.",
    )
    (failed,) = (await api.rested(run))["toolCalls"]
    assert (failed["isError"], failed["result"]) == (True, "The client gave no result in time.")


async def test_a_key_of_another_workspace_or_without_the_scope_gives_no_result(
    make_api: MakeApi,
) -> None:
    api, run = await suspended(make_api)
    keys = api.core.services.keys
    other = await keys.create(
        (await api.core.services.workspaces.put("other")).id, "other", frozenset(Scope)
    )
    reader = await keys.create(
        api.caller.workspace_id, "reader", frozenset({Scope.EXECUTIONS_READ, Scope.APPROVALS_WRITE})
    )
    path = f"/v1/executions/{run}/client-calls/{call(1, '').id}"
    for secret, status in ((other.secret, 404), (reader.secret, 403)):
        headers = {"authorization": f"Bearer {secret}"}
        answer = await api.client.post(path, json={"result": 1}, headers=headers)
        assert answer.status_code == status
    assert (await api.rested(run))["pendingClientCalls"]


async def test_an_approval_is_no_call_of_the_client_and_a_call_of_the_client_no_approval(
    make_api: MakeApi,
) -> None:
    tools = (client_tool("locate"), replace(builtin_spec("datetime"), approval=True))
    actor = model(call(1, "locate"), call(2, "datetime"))
    api = await make_api(actor, agent(*tools), ToolBox(SystemClock()))
    run = (await api.execute({"input": "Hello"})).json()["id"]
    assert (await answered(api, run, {"result": 1}, number=2)).status_code == 404
    for number, status in ((1, 404), (2, 200)):
        path = f"/v1/executions/{run}/approvals/{call(number, '').id}"
        assert (await api.client.post(path, json={"approved": True})).status_code == status
    shown = await api.rested(run)
    assert (shown["status"], shown["pendingApprovals"]) == ("suspended", [])
    assert (await answered(api, run, {"result": 1})).status_code == 200
    assert (await api.rested(run))["status"] == "completed"


WRONG: dict[str, Any] = {
    "clientTools.0.name": [{"name": "a tool"}],
    "clientTools.1.name": [LOCATE, LOCATE],
    "clientTools.0.parameters": [{"name": "a", "parameters": {"type": "array"}}],
    "clientTools.0.timeout": [{"name": "a", "timeout": 0}],
    "clientTools.0.description": [{"name": "a", "description": 1}],
    "clientTools": [{"name": f"t{number}"} for number in range(MAX_TOOLS + 1)],
}


@pytest.mark.parametrize("param", WRONG)
async def test_tools_that_cannot_be_are_refused_and_nothing_starts(
    make_api: MakeApi, param: str
) -> None:
    api = await make_api(model(), agent(builtin_spec("datetime")), ToolBox(SystemClock()))
    wrong = {"clientTools": WRONG[param]}
    refused = await api.execute({"input": "Hello", **wrong})
    assert refused.status_code == 422
    assert refused.json()["error"]["param"].removesuffix(".") == param
    messages = [{"role": "user", "content": "Hello"}]
    again = await api.client.post(ROOMS[1], json={"messages": messages, **wrong})
    assert again.status_code == 422
    large = [{**LOCATE, "description": "x" * 70_000}]
    assert (await api.execute({"input": "Hello", "clientTools": large})).status_code == 422
    assert (await api.get("/v1/executions")).json()["data"] == []


async def test_arguments_that_do_not_fit_reach_no_client(make_api: MakeApi) -> None:
    needs = {"type": "object", "properties": {"room": {"type": "integer"}}, "required": ["room"]}
    api = await make_api(model(), agent(builtin_spec("datetime")), ToolBox(SystemClock()))
    tools = [{**LOCATE, "description": "Where to?", "parameters": needs}]
    done = (await api.execute({"input": "Hello", "clientTools": tools})).json()
    assert (done["status"], done["toolCalls"][0]["isError"]) == ("completed", True)
    assert "room" in done["toolCalls"][0]["result"]


async def test_a_deleted_conversation_leaves_no_word_of_the_tools(
    make_api: MakeApi, database: Database
) -> None:
    api = await make_api(model(), agent(builtin_spec("datetime")), ToolBox(SystemClock()))
    tools = [{**LOCATE, "description": "the secret place"}]
    run = (await api.execute({"input": "Hello", "clientTools": tools})).json()
    ((kept,),) = database.rows("SELECT client_tools FROM executions")
    assert "the secret place" in str(kept)
    path = f"/v1/conversations/{run['conversationId']}"
    assert (await api.client.delete(path)).status_code == 204
    assert database.rows("SELECT client_tools FROM executions") == [(None,)]


async def test_a_message_that_brings_no_result_that_is_awaited_starts_nothing(
    make_api: MakeApi,
) -> None:
    api, run = await suspended(make_api)
    assert (await answered(api, run, {"result": 1})).status_code == 200
    await api.rested(run)
    shown = {"type": "tool-add", "toolCallId": call(7, "").id, "state": "output-available"}
    says = [
        {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]},
        {"id": run, "role": "assistant", "parts": [{"type": "step-start"}, shown]},
    ]
    body = {"id": "chat-1", "messages": says, "trigger": "submit-message"}
    answer = await api.client.post(ROOMS[1], json=body)
    assert (answer.status_code, message(answer)) == (409, NOTHING_WAITS)
    assert len((await api.get("/v1/executions")).json()["data"]) == 1
