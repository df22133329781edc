"""Executing: wait, stream, background, Prefer, Idempotency-Key, memory, budget, onBusy."""

import asyncio
from typing import Any

import pytest

from outlast.agents.port import ModelRequest
from outlast.model.error import ModelRejected
from tests.engine.world import Actor, Bench, by_turn, call, spec, tool
from tests.rooms.conftest import Build
from tests.rooms.house import BOUND, House, frames, kinds, texts

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
        "actor": Actor(WITH_TOOL),
        "agent": spec(tool("lookup")),
        "bench": Bench(lookup=lambda _: {"status": "shipped"}),
    }


async def test_a_request_waits_and_gets_every_field_of_the_contract(build: Build) -> None:
    house = await build(**with_tool())
    response = await house.execute({"input": "Where?", "metadata": {"source": "web"}})
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
    assert (await house.get(f"/v1/executions/{execution['id']}")).json() == execution


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_is_json_is_json_whatever_type_is_claimed(
    house: House, content_type: str
) -> None:
    response = await house.execute({"input": "Hi"}, headers={"Content-Type": content_type})
    assert response.status_code == 200


@pytest.mark.parametrize("how", ["bearer", "BEARER", "bare", "x-api-key"])
async def test_the_key_may_come_in_three_headers(house: House, how: str) -> None:
    headers = {
        "bearer": {"Authorization": f"bearer {house.key}"},
        "BEARER": {"Authorization": f"BEARER  {house.key} "},
        "bare": {"authorization": house.key},
        "x-api-key": {"X-Api-Key": house.key},
    }[how]
    del house.client.headers["authorization"]
    assert (await house.client.get("/v1/agents", headers=headers)).status_code == 200


@pytest.mark.parametrize("how", [{"stream": True}, {"Accept": "text/event-stream"}])
async def test_a_stream_tells_the_execution_as_it_happens(
    build: Build, how: dict[str, Any]
) -> None:
    house = await build(**with_tool())
    headers = {"Accept": how["Accept"]} if "Accept" in how else {}
    body = {"input": "Where?", "metadata": {"a": 1}} | {
        k: v for k, v in how.items() if k == "stream"
    }
    response = await house.execute(body, headers=headers)
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
    assert done["execution"] == await house.rested(found[0][1]["executionId"])
    assert done["usage"] == done["execution"]["usage"]


async def test_background_answers_before_the_run_has_ended(build: Build) -> None:
    held = asyncio.Event()
    house = await build(Actor(by_turn(["Hel", held, "lo"])))
    response = await house.execute({"input": "Hi", "background": True})
    assert response.status_code == 202
    execution = response.json()
    assert execution["status"] == "queued"
    assert response.headers["location"] == f"/v1/executions/{execution['id']}"
    held.set()
    assert (await house.rested(execution["id"]))["output"] == "Hello"


async def test_prefer_respond_async_answers_at_once_and_says_so(house: House) -> None:
    response = await house.execute({"input": "Hi"}, headers={"Prefer": "respond-async"})
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "respond-async"


@pytest.mark.parametrize("prefer", ["Respond-Async; why=slow", "handling=lenient, respond-async"])
async def test_a_preference_may_have_parameters_and_neighbours(house: House, prefer: str) -> None:
    response = await house.execute({"input": "Hi"}, headers={"Prefer": prefer})
    assert response.status_code == 202


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("Text/Event-Stream", "text/event-stream"),
        ("application/json, text/event-stream;q=0.5", "text/event-stream"),
        ("application/json, text/event-stream; q=0", "application/json"),
        ("text/event-streams", "application/json"),
    ],
)
async def test_accept_chooses_the_stream(house: House, accept: str, content_type: str) -> None:
    response = await house.execute({"input": "Hi"}, headers={"Accept": accept})
    assert response.headers["content-type"].partition(";")[0] == content_type


async def test_prefer_wait_is_the_longest_wait(build: Build) -> None:
    held = asyncio.Event()
    house = await build(Actor(by_turn(["Hel", held, "lo"])))
    response = await house.execute({"input": "Hi"}, headers={"Prefer": "respond-async, wait=1"})
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=1"
    held.set()
    await house.rested(response.json()["id"])


async def test_prefer_wait_answers_as_soon_as_it_has_ended(house: House) -> None:
    response = await house.execute({"input": "Hi"}, headers={"Prefer": "wait=60"})
    assert response.status_code == 200
    assert response.headers["preference-applied"] == "wait=60"


async def test_a_failed_run_is_a_successful_request(build: Build) -> None:
    house = await build(Actor(by_turn(["So ", "far", ModelRejected("No such model.")])))
    response = await house.execute({"input": "Hi"})
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


async def test_a_failed_stream_ends_with_an_error_that_carries_the_execution(build: Build) -> None:
    house = await build(Actor(by_turn(["So ", "far", ModelRejected("No such model.")])))
    found = frames((await house.execute({"input": "Hi", "stream": True})).content)
    last = found[-1][1]
    assert last["type"] == "error"
    assert (last["code"], last["message"]) == ("model_rejected", "No such model.")
    assert last["execution"] == await house.rested(last["execution"]["id"])


async def test_a_run_that_needs_a_person_is_answered_as_suspended(build: Build) -> None:
    house = await build(
        Actor(by_turn(["I ask. ", call(1, "refund", amount=5)], ["Done."])),
        spec(tool("refund", approval=True)),
        Bench(refund=lambda _: "ok"),
    )
    response = await house.execute({"input": "Refund me"})
    assert response.status_code == 200
    execution = response.json()
    assert execution["status"] == "suspended"
    assert execution["output"] == "I ask. "
    (pending,) = execution["pendingApprovals"]
    assert pending["kind"] == "approval"
    assert pending["parameters"] == {"amount": 5}
    cancelled = await house.client.post(f"/v1/executions/{execution['id']}/cancel")
    assert cancelled.json()["output"] == "I ask. "
    found = frames((await house.get(f"/v1/executions/{execution['id']}/stream")).content)
    assert kinds(found) == ["start", "text_delta", "approval_requested", "done"]
    assert found[-1][1]["execution"] == await house.rested(execution["id"])


async def test_session_values_stick_to_the_conversation(build: Build) -> None:
    actor = Actor(lambda _: ["ok"])
    house = await build(actor)
    first = (
        await house.execute({"input": "Hi", "memory": {"session": {"userName": "Sarah"}}})
    ).json()
    await house.execute({"input": "Again", "conversationId": first["conversationId"]})
    assert "userName: Sarah" in actor.asked[-1].instructions
    assert len(actor.asked[-1].messages) == 3


async def test_a_spent_budget_fails_the_execution_and_keeps_its_output(build: Build) -> None:
    house = await build(**with_tool())
    body = {"input": "Hi", "budget": {"maxSteps": 2, "maxSeconds": 60, "maxTokens": None}}
    execution = (await house.execute(body)).json()
    assert execution["status"] == "failed"
    assert execution["error"]["code"] == "budget_exceeded"
    assert execution["output"] == "Let me see. "


async def test_on_busy_reject_is_a_conflict(build: Build) -> None:
    held = asyncio.Event()
    house = await build(Actor(by_turn([held])))
    first = (await house.execute({"input": "Hi", "background": True})).json()
    again = {"input": "Hi", "conversationId": first["conversationId"], "onBusy": "reject"}
    response = await house.execute(again)
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "conversation_busy"
    held.set()
    await house.rested(first["id"])


async def test_on_busy_interrupt_cancels_the_one_before(build: Build) -> None:
    held = asyncio.Event()

    def play(request: ModelRequest) -> Any:
        return ["One", held] if request.messages[-1].text == "one" else ["Two"]  # type: ignore[union-attr]

    actor = Actor(play)
    house = await build(actor)
    first = (await house.execute({"input": "one", "background": True})).json()
    async with asyncio.timeout(BOUND):
        await actor.spoke.wait()
    body = {"input": "two", "conversationId": first["conversationId"], "onBusy": "interrupt"}
    second = (await house.execute(body)).json()
    assert second["output"] == "Two"
    assert (await house.rested(first["id"]))["status"] == "cancelled"


async def test_an_unknown_agent_is_404(house: House) -> None:
    response = await house.execute({"input": "Hi"}, agent="nobody")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "agent_not_found"


async def test_an_unknown_conversation_is_404_in_whatever_spelling(house: House) -> None:
    for unknown in ("conv_abc123", "conv_01k6zj3t7hf2a9q1x5m8r4c0vb"):
        response = await house.execute({"input": "Hi", "conversationId": unknown})
        assert response.status_code == 404
        error = response.json()["error"]
        assert (error["code"], error["param"]) == ("conversation_not_found", "conversationId")
