"""Executing: wait, stream, background, Prefer, Idempotency-Key, memory, budget, onBusy."""

import asyncio
from typing import Any

import pytest

from outlast.agents.port import ModelRequest
from outlast.model.error import ModelRejected
from tests.support.api import Api, MakeApi, frames, kinds, texts
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

SEED_FIELDS = {
    "id": str,
    "agentId": str,
    "conversationId": str,
    "status": str,
    "output": str,
    "toolCalls": list,
    "usage": dict,
    "timing": dict,
    "metadata": dict,
    "createdAt": str,
}
LOOKUP = call(1, "lookup", order="7")
WITH_TOOL = by_turn(["Let me ", "see. ", LOOKUP], ["It is ", "shipped."])


def with_tool() -> dict[str, Any]:
    return {
        "model": FakeModel(WITH_TOOL),
        "agent": spec(tool("lookup")),
        "tools": FakeTools(lookup=lambda _: {"status": "shipped"}),
    }


async def test_a_request_waits_and_gets_every_field_of_the_contract(share_api: MakeApi) -> None:
    api = await share_api(**with_tool())
    response = await api.execute({"input": "Where?", "metadata": {"source": "web"}})
    assert response.status_code == 200
    execution = response.json()
    for field, kind in SEED_FIELDS.items():
        assert isinstance(execution[field], kind), field
    assert execution["status"] == "completed"
    assert execution["output"] == "It is shipped."
    assert execution["metadata"] == {"source": "web"}
    (tool_call,) = execution["toolCalls"]
    assert tool_call["name"] == "lookup"
    assert tool_call["parameters"] == {"order": "7"}
    assert tool_call["result"] == {"status": "shipped"}
    assert tool_call["duration"] >= 0
    assert execution["usage"]["totalTokens"] == 30
    assert execution["usage"]["cacheReadTokens"] == 6
    assert execution["creditsUsed"] == 0.03
    assert response.headers["x-execution-id"] == execution["id"]
    assert (await api.get(f"/v1/executions/{execution['id']}")).json() == execution


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_is_json_is_json_whatever_type_is_claimed(
    api: Api, content_type: str
) -> None:
    response = await api.execute({"input": "Hi"}, headers={"Content-Type": content_type})
    assert response.status_code == 200


@pytest.mark.parametrize("how", ["bearer", "BEARER", "bare", "x-api-key"])
async def test_the_key_may_come_in_three_headers(api: Api, how: str) -> None:
    headers = {
        "bearer": {"Authorization": f"bearer {api.key}"},
        "BEARER": {"Authorization": f"BEARER  {api.key} "},
        "bare": {"authorization": api.key},
        "x-api-key": {"X-Api-Key": api.key},
    }[how]
    del api.client.headers["authorization"]
    assert (await api.client.get("/v1/agents", headers=headers)).status_code == 200


@pytest.mark.parametrize("how", [{"stream": True}, {"Accept": "text/event-stream"}])
async def test_a_stream_tells_the_execution_as_it_happens(
    share_api: MakeApi, how: dict[str, Any]
) -> None:
    api = await share_api(**with_tool())
    headers = {"Accept": how["Accept"]} if "Accept" in how else {}
    body = {"input": "Where?", "metadata": {"a": 1}} | {
        k: v for k, v in how.items() if k == "stream"
    }
    response = await api.execute(body, headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"].startswith("no-cache")
    assert response.headers["x-accel-buffering"] == "no"
    assert b"event:" not in response.content
    found = frames(response.content)
    assert kinds(found) == [
        "start",
        "text_delta",
        "text_delta",
        "tool_call_start",
        "tool_call_end",
        "text_delta",
        "text_delta",
        "done",
    ]
    assert found[0][1]["executionId"] == response.headers["x-execution-id"]
    assert texts(found) == "Let me see. It is shipped."
    done = found[-1][1]
    assert done["execution"] == await api.rested(found[0][1]["executionId"])
    assert done["usage"] == done["execution"]["usage"]


async def test_background_answers_before_the_run_has_ended(share_api: MakeApi) -> None:
    held = asyncio.Event()
    api = await share_api(FakeModel(by_turn(["Hel", held, "lo"])))
    response = await api.execute({"input": "Hi", "background": True})
    assert response.status_code == 202
    execution = response.json()
    assert execution["status"] == "queued"
    assert response.headers["location"] == f"/v1/executions/{execution['id']}"
    held.set()
    assert (await api.rested(execution["id"]))["output"] == "Hello"


async def test_prefer_respond_async_answers_at_once_and_says_so(api: Api) -> None:
    response = await api.execute({"input": "Hi"}, headers={"Prefer": "respond-async"})
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "respond-async"


@pytest.mark.parametrize("prefer", ["Respond-Async; why=slow", "handling=lenient, respond-async"])
async def test_a_preference_may_have_parameters_and_neighbours(api: Api, prefer: str) -> None:
    response = await api.execute({"input": "Hi"}, headers={"Prefer": prefer})
    assert response.status_code == 202


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("Text/Event-Stream", "text/event-stream"),
        ("text/event-stream;charset=utf-8;q=0.9, */*", "text/event-stream"),
        ("application/json;q=0.5, text/event-stream", "text/event-stream"),
        ("application/json, text/event-stream", "application/json"),
        ("application/json, text/event-stream;q=0.5", "application/json"),
        ("application/json, text/event-stream; q=0", "application/json"),
        ("text/event-streams", "application/json"),
    ],
)
async def test_accept_chooses_the_stream(api: Api, accept: str, content_type: str) -> None:
    response = await api.execute({"input": "Hi"}, headers={"Accept": accept})
    assert response.headers["content-type"].partition(";")[0] == content_type


async def test_a_body_that_wants_no_stream_gets_none(api: Api) -> None:
    body, headers = {"input": "Hi", "stream": False}, {"Accept": "text/event-stream"}
    assert (await api.execute(body, headers=headers)).json()["status"] == "completed"


async def test_a_body_that_wants_no_background_run_waits(api: Api) -> None:
    body, headers = {"input": "Hi", "background": False}, {"Prefer": "respond-async"}
    response = await api.execute(body, headers=headers)
    assert (response.status_code, response.json()["status"]) == (200, "completed")
    assert "preference-applied" not in response.headers


async def test_prefer_wait_is_the_longest_wait(share_api: MakeApi) -> None:
    held = asyncio.Event()
    api = await share_api(FakeModel(by_turn(["Hel", held, "lo"])))
    response = await api.execute({"input": "Hi"}, headers={"Prefer": "respond-async, wait=1"})
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=1"
    held.set()
    await api.rested(response.json()["id"])


async def test_prefer_wait_answers_as_soon_as_it_has_ended(api: Api) -> None:
    response = await api.execute({"input": "Hi"}, headers={"Prefer": "wait=60"})
    assert response.status_code == 200
    assert response.headers["preference-applied"] == "wait=60"


async def test_a_failed_run_is_a_successful_request(share_api: MakeApi) -> None:
    api = await share_api(FakeModel(by_turn(["So ", "far", ModelRejected("No such model.")])))
    response = await api.execute({"input": "Hi"})
    assert response.status_code == 200
    execution = response.json()
    assert execution["status"] == "failed"
    assert execution["output"] == "So far"
    assert execution["error"] == {
        "type": "upstream_error",
        "code": "model_rejected",
        "message": "No such model.",
    }
    assert execution["usage"]["estimated"] is True


async def test_a_failed_stream_ends_with_an_error_that_carries_the_execution(
    share_api: MakeApi,
) -> None:
    api = await share_api(FakeModel(by_turn(["So ", "far", ModelRejected("No such model.")])))
    found = frames((await api.execute({"input": "Hi", "stream": True})).content)
    last = found[-1][1]
    assert last["type"] == "error"
    assert (last["code"], last["message"]) == ("model_rejected", "No such model.")
    assert last["execution"] == await api.rested(last["execution"]["id"])


async def test_a_run_that_needs_a_person_is_answered_as_suspended(share_api: MakeApi) -> None:
    api = await share_api(
        FakeModel(by_turn(["I ask. ", call(1, "refund", amount=5)], ["Done."])),
        spec(tool("refund", approval=True)),
        FakeTools(refund=lambda _: "ok"),
    )
    response = await api.execute({"input": "Refund me"})
    assert response.status_code == 200
    execution = response.json()
    assert execution["status"] == "suspended"
    assert execution["output"] == "I ask. "
    (pending,) = execution["pendingApprovals"]
    assert pending["kind"] == "approval"
    assert pending["parameters"] == {"amount": 5}
    cancelled = await api.client.post(f"/v1/executions/{execution['id']}/cancel")
    assert cancelled.json()["output"] == "I ask. "
    found = frames((await api.get(f"/v1/executions/{execution['id']}/stream")).content)
    assert kinds(found) == ["start", "text_delta", "approval_requested", "done"]
    assert found[-1][1]["execution"] == await api.rested(execution["id"])


async def test_session_values_stick_to_the_conversation(share_api: MakeApi) -> None:
    model = FakeModel(lambda _: ["ok"])
    api = await share_api(model)
    first = (
        await api.execute({"input": "Hi", "memory": {"session": {"userName": "Sarah"}}})
    ).json()
    await api.execute({"input": "Again", "conversationId": first["conversationId"]})
    assert "userName: Sarah" in model.requests[-1].instructions
    assert len(model.requests[-1].messages) == 3


async def test_a_spent_budget_fails_the_execution_and_keeps_its_output(share_api: MakeApi) -> None:
    api = await share_api(**with_tool())
    body = {"input": "Hi", "budget": {"maxSteps": 2, "maxSeconds": 60, "maxTokens": None}}
    execution = (await api.execute(body)).json()
    assert execution["status"] == "failed"
    assert execution["error"]["code"] == "budget_exceeded"
    assert execution["output"] == "Let me see. "


async def test_on_busy_reject_is_a_conflict(share_api: MakeApi) -> None:
    held = asyncio.Event()
    api = await share_api(FakeModel(by_turn([held])))
    first = (await api.execute({"input": "Hi", "background": True})).json()
    again = {"input": "Hi", "conversationId": first["conversationId"], "onBusy": "reject"}
    response = await api.execute(again)
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "conversation_busy"
    held.set()
    await api.rested(first["id"])


async def test_on_busy_interrupt_cancels_the_one_before(share_api: MakeApi) -> None:
    held = asyncio.Event()

    def play(request: ModelRequest) -> Any:
        return ["One", held] if request.messages[-1].text == "one" else ["Two"]  # type: ignore[union-attr]

    model = FakeModel(play)
    api = await share_api(model)
    first = (await api.execute({"input": "one", "background": True})).json()
    async with asyncio.timeout(BOUND):
        await model.spoke.wait()
    body = {"input": "two", "conversationId": first["conversationId"], "onBusy": "interrupt"}
    second = (await api.execute(body)).json()
    assert second["output"] == "Two"
    assert (await api.rested(first["id"]))["status"] == "cancelled"


async def test_an_unknown_agent_is_404(api: Api) -> None:
    response = await api.execute({"input": "Hi"}, agent="unknown")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "agent_not_found"


async def test_an_unknown_conversation_is_404_in_whatever_spelling(api: Api) -> None:
    for unknown in ("conv_abc123", "conv_01k6zj3t7hf2a9q1x5m8r4c0vb"):
        response = await api.execute({"input": "Hi", "conversationId": unknown})
        assert response.status_code == 404
        error = response.json()["error"]
        assert (error["code"], error["param"]) == ("conversation_not_found", "conversationId")
