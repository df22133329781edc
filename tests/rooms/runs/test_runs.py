"""The routes of the runs room: start, look, decide, chats."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from outlast.model.execution import Status
from outlast.model.workspace import Scope
from outlast.rooms.runs.render import STATUS_WORDS
from outlast.rooms.runs.stream import responses
from tests.support.api import Api, MakeApi
from tests.support.models import FakeModel, by_turn
from tests.support.runs_room import (
    ASKING,
    PATH,
    REFUND,
    answer,
    chat,
    data,
    decide,
    make_refund_api,
    post,
    suspended,
    user,
)
from tests.support.tools import FakeTools, spec
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
SIX = {"id", "agentId", "conversationId", "status", "createdAt", "updatedAt"}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No decision comes while an answer to a chat is still open."""
    monkeypatch.setattr(responses, "PATIENCE_SECONDS", 0.01)


# --- start


async def test_a_run_streams_in_openai_s_format_and_has_six_fields(api: Api) -> None:
    response = await post(api, user("Hi"))
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    run = response.headers["x-workflow-run-id"]
    assert run == response.headers["x-execution-id"]
    said = data(response.content)
    assert said[-1] == "[DONE]"
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in said[:-1]) == "Hello"
    found = (await api.get(f"{PATH}/{run}")).json()
    assert set(found) == SIX
    assert (found["id"], found["status"]) == (run, "completed")


async def test_parts_are_answered_in_the_ai_sdk_s_format(api: Api) -> None:
    response = await post(api, chat("c1", text="Hi"))
    assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert data(response.content)[-1] == {"type": "finish", "finishReason": "stop"}


@pytest.mark.parametrize("chosen", ["openai", "ui", "native"])
async def test_a_run_keeps_the_format_that_it_was_started_with(api: Api, chosen: str) -> None:
    started = await post(api, user("Hi"), params={"format": chosen})
    run = started.headers["x-execution-id"]
    assert (await api.get(f"{PATH}/{run}/stream")).content == started.content
    other = "native" if chosen == "ui" else "ui"
    shown = await api.get(f"{PATH}/{run}/stream", format=other)
    assert shown.content != started.content


async def test_another_room_s_run_streams_here_and_this_one_s_there(api: Api) -> None:
    run = (await api.execute({"input": "Hi"})).json()["id"]
    assert data((await api.get(f"{PATH}/{run}/stream")).content)[-1] == "[DONE]"
    native = await api.get(f"{PATH}/{run}/stream", format="native")
    assert native.content == (await api.get(f"/v1/executions/{run}/stream")).content


async def test_the_run_exists_before_its_headers_and_goes_on_without_its_client(
    share_api: MakeApi,
) -> None:
    held = asyncio.Event()
    api = await share_api(FakeModel(by_turn(["Hel", held, "lo"])))
    async with (
        api.listening() as client,
        client.stream("POST", PATH, json=user("Hi")) as response,
    ):
        run = response.headers["x-execution-id"]
        assert (await client.get(f"{PATH}/{run}")).json()["status"] == "running"
    held.set()
    assert (await api.rested(run))["output"] == "Hello"


async def test_an_idempotency_key_gives_the_first_run_again(api: Api) -> None:
    once = {"Idempotency-Key": "once"}
    first = await post(api, user("Hi"), headers=once)
    again = await post(api, user("Hi"), headers=once)
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.content, again.headers["x-execution-id"]) == (
        first.content,
        first.headers["x-execution-id"],
    )
    assert (await post(api, user("Ho"), headers=once)).status_code == 422


async def test_instructions_and_headers_reach_the_agent_and_its_tools(share_api: MakeApi) -> None:
    tools = FakeTools(refund=lambda _: "paid", look=lambda _: [1])
    model = FakeModel(by_turn(*ASKING))
    api = await make_refund_api(share_api, model=model, tools=tools)
    body = chat("c1", text="Refund me") | {"forwardedHeaders": {"X-Tenant": "s3cret-tenant"}}
    body["messages"].insert(0, {"role": "system", "parts": [{"type": "text", "text": "Be quick."}]})
    run = (await post(api, body)).headers["x-execution-id"]
    assert model.requests[0].instructions == "Be kind.\n\nBe quick."
    kept = await _row(api, run)
    assert kept.origin.headers
    assert "s3cret" not in repr(kept) + kept.origin.headers
    await decide(api, run, approved=True)
    await api.rested(run)
    assert tools.context is not None
    assert tools.context.headers == {"X-Tenant": "s3cret-tenant"}
    assert (await _row(api, run)).origin.headers is None
    log = await api.core.services.executions.log(api.caller, run)
    assert "s3cret" not in repr(log)


async def _row(api: Api, run: str) -> Any:
    return (await api.core.services.executions.get(api.caller, run)).execution


async def test_without_a_default_the_workspace_s_only_agent_runs_and_several_are_400(
    api: Api,
) -> None:
    other = replace(spec(), name="other")
    await api.core.services.agents.put(api.caller.workspace_id, [(other, "1")])
    response = await post(api, user("Hi"))
    assert (response.status_code, set(response.json())) == (400, {"error"})
    agent = await api.core.services.agents.get(api.caller, "other")
    keys = api.core.services.keys
    key = await keys.create(api.caller.workspace_id, "k", agent_id=agent.id)
    response = await post(api, user("Hi"), headers={"Authorization": f"Bearer {key.secret}"})
    run = response.headers["x-execution-id"]
    assert (await api.get(f"{PATH}/{run}")).json()["agentId"] == agent.id


@pytest.mark.parametrize(
    ("body", "params", "status"),
    [
        (b"{", {}, 400),
        (b"{}", {}, 400),
        (b'{"messages":[]}', {}, 422),
        (b'{"messages":[{"role":"user","content":5}]}', {}, 422),
        (b'{"messages":[{"role":"user","content":""}]}', {}, 400),
        (b'{"messages":[{"role":"user","content":"Hi"}]}', {"format": "xml"}, 400),
        (b'{"messages":[{"role":"user","content":"Hi"}],"conversationId":"x"}', {}, 404),
        (
            orjson.dumps(user("Hi") | {"conversationId": "conv_01k6zj3t7hf2a9q1x5m8r4c0vb"}),
            {},
            404,
        ),
        (b'{"messages":[{"role":"user","content":"Hi"}],"forwardedHeaders":{"a b":"c"}}', {}, 422),
    ],
)
async def test_what_cannot_be_is_refused_with_a_sentence(
    api: Api, body: bytes, params: dict[str, str], status: int
) -> None:
    response = await api.client.post(PATH, content=body, params=params)
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    assert isinstance(response.json()["error"], str)
    assert (await api.get("/v1/executions")).json()["data"] == []


def test_every_status_has_its_word() -> None:
    assert set(STATUS_WORDS) == set(Status)


# --- decide


async def test_approved_the_tool_runs_once_however_often_it_is_said(share_api: MakeApi) -> None:
    tools = FakeTools(refund=lambda _: "paid", look=lambda _: [1])
    api = await make_refund_api(share_api, tools=tools)
    run = await suspended(api)
    assert (await api.get(f"{PATH}/{run}")).json()["status"] == "suspended"
    said = await asyncio.gather(*(decide(api, run, approved=True) for _ in range(10)))
    assert {(r.status_code, r.text) for r in said} == {(200, '{"success":true}')}
    assert (await api.rested(run))["output"] == "It is done."
    assert tools.calls[REFUND.id] == 1
    contradiction = await decide(api, run, approved=False)
    assert contradiction.status_code == 409
    assert (await decide(api, run, approved=True)).status_code == 200


async def test_denied_the_tool_does_not_run_and_the_model_reads_why(share_api: MakeApi) -> None:
    tools = FakeTools(refund=lambda _: "paid", look=lambda _: [1])
    model = FakeModel(by_turn(*ASKING))
    api = await make_refund_api(share_api, model=model, tools=tools)
    run = await suspended(api)
    await decide(api, run, approved=False, reason="Too much.")
    assert (await api.rested(run))["status"] == "completed"
    assert tools.calls.total() == 0
    assert "Too much." in repr(model.requests[-1].messages)


async def test_an_approval_that_no_one_requested_is_not_found(share_api: MakeApi) -> None:
    api = await make_refund_api(share_api)
    run = await suspended(api)
    for path in (
        f"{PATH}/{run}/approvals/tc_00000000000000000000000009",
        f"{PATH}/{run}/approvals/x",
        f"{PATH}/exec_01k6zj3t7hf2a9q1x5m8r4c0vb/approvals/{REFUND.id}",
    ):
        response = await api.client.post(path, content=b'{"approved":true}')
        assert (response.status_code, set(response.json())) == (404, {"error"})
    path = f"{PATH}/{run}/approvals/{REFUND.id}"
    long = b'{"approved":true,"reason":"%s"}' % (b"a" * 65_537)
    for body in (b"{}", b'{"approved":"yes"}', b'{"approved":true,"reason":5}', long):
        assert (await api.client.post(path, content=body)).status_code in (400, 422)
    assert (await _row(api, run)).status is Status.SUSPENDED


async def test_deciding_asks_for_its_scope(share_api: MakeApi) -> None:
    api = await make_refund_api(share_api, scopes=frozenset(Scope) - {Scope.APPROVALS_WRITE})
    run = await suspended(api)
    assert (await decide(api, run, approved=True)).status_code == 403


# --- chats


async def test_a_chat_s_answer_ends_at_the_question_and_its_decision_goes_on(
    share_api: MakeApi,
) -> None:
    api = await make_refund_api(share_api)
    first = await post(api, chat("c1"))
    run = first.headers["x-execution-id"]
    assert data(first.content)[-1]["type"] == "tool-approval-request"
    second = await post(api, chat("c1", answer()))
    assert second.headers["x-execution-id"] == run
    whole = await api.get(f"{PATH}/{run}/stream")
    assert first.content + second.content == whole.content
    again = await post(api, chat("c1", answer()))
    assert again.content == second.content


async def test_a_decision_finds_its_run_by_the_message_s_id_alone(share_api: MakeApi) -> None:
    api = await make_refund_api(share_api)
    run = (await post(api, chat("c1"))).headers["x-execution-id"]
    body = chat("c1", answer(approved=False, reason="No.", id=run))
    del body["id"]
    response = await post(api, body)
    assert data(response.content)[0] == {"type": "tool-output-denied", "toolCallId": REFUND.id}
    body["messages"][-1]["id"] = "unknown"
    assert (await post(api, body)).status_code == 400
    assert (await post(api, body | {"id": "unknown"})).status_code == 404


async def test_who_decides_at_once_gets_the_rest_in_the_same_answer(
    share_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "PATIENCE_SECONDS", BOUND)
    api = await make_refund_api(share_api)
    asking = asyncio.create_task(post(api, chat("c1")))
    newest = None
    async with asyncio.timeout(BOUND):
        while newest is None or newest.status is not Status.SUSPENDED:
            await asyncio.sleep(0)
            newest = await api.core.services.executions.newest_of_chat(api.caller, "c1")
    await decide(api, newest.id, approved=True)
    assert data((await asking).content)[-1]["type"] == "finish"


async def test_a_chat_goes_on_in_its_conversation(api: Api) -> None:
    first = (await post(api, chat("c1", text="Hi"))).headers["x-execution-id"]
    second = (await post(api, chat("c1", text="Ho"))).headers["x-execution-id"]
    other = (await post(api, chat("c2", text="Hi"))).headers["x-execution-id"]
    runs = [(await api.get(f"{PATH}/{run}")).json() for run in (first, second, other)]
    conversations = [run["conversationId"] for run in runs]
    assert conversations[0] == conversations[1] != conversations[2]
    await api.client.delete(f"/v1/conversations/{conversations[0]}")
    fresh = await post(api, chat("c1", text="Again"))
    assert fresh.status_code == 200


async def test_a_chat_s_stream_is_that_of_its_live_newest_run(share_api: MakeApi) -> None:
    api = await make_refund_api(share_api)
    assert (await api.get(f"{PATH}/c1/stream")).status_code == 204
    run = (await post(api, chat("c1"))).headers["x-execution-id"]
    async with (
        api.listening() as client,
        client.stream("GET", f"{PATH}/c1/stream") as response,
    ):
        assert response.headers["x-execution-id"] == run
        await decide(api, run, approved=True)
        assert data(await response.aread())[-1]["type"] == "finish"
    ended = await api.get(f"{PATH}/c1/stream")
    assert (ended.status_code, ended.content) == (204, b"")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("exec_01k6zj3t7hf2a9q1x5m8r4c0vb", 404),
        ("0199bf21-e8f1-7892-9b86-5d2a3184b3ab", 204),
        ("anything", 204),
        ("exec_nonsense", 204),
    ],
)
async def test_an_unknown_run_is_404_and_an_unknown_chat_204(
    api: Api, name: str, status: int
) -> None:
    assert (await api.get(f"{PATH}/{name}/stream")).status_code == status


async def test_another_workspace_s_runs_and_chats_are_not_there(share_api: MakeApi) -> None:
    api = await make_refund_api(share_api)
    run = (await post(api, chat("c1"))).headers["x-execution-id"]
    keys = api.core.services.keys
    elsewhere = await keys.create((await api.core.services.workspaces.put("other")).id, "k")
    theirs = {"Authorization": f"Bearer {elsewhere.secret}"}
    for path in (f"{PATH}/{run}", f"{PATH}/{run}/stream"):
        assert (await api.client.get(path, headers=theirs)).status_code == 404
    assert (await api.client.get(f"{PATH}/c1/stream", headers=theirs)).status_code == 204
    path = f"{PATH}/{run}/approvals/{REFUND.id}"
    said = await api.client.post(path, content=b'{"approved":true}', headers=theirs)
    assert said.status_code == 404


# --- where a stream goes on


@pytest.mark.parametrize(
    ("headers", "params"),
    [
        ({"x-stream-start-index": "99"}, {}),
        ({"x-stream-start-index": "two"}, {}),
        ({"x-stream-start-index": "0_1"}, {}),
        ({"x-stream-start-index": "9" * 5000}, {}),
        ({}, {"startIndex": "99"}),
        ({}, {"startIndex": "two"}),
        ({"Last-Event-ID": "99"}, {}),
        ({"Last-Event-ID": "x"}, {}),
        ({"Last-Event-ID": "1-99"}, {"format": "native"}),
        ({}, {"format": "xml"}),
    ],
)
async def test_a_place_that_the_stream_does_not_have_is_400(
    api: Api, headers: dict[str, str], params: dict[str, str]
) -> None:
    run = (await post(api, user("Hi"))).headers["x-execution-id"]
    response = await api.client.get(f"{PATH}/{run}/stream", headers=headers, params=params)
    assert (response.status_code, set(response.json())) == (400, {"error"})


async def test_more_than_all_from_the_end_is_all(api: Api) -> None:
    started = await post(api, user("Hi"))
    path = f"{PATH}/{started.headers['x-execution-id']}/stream"
    assert (await api.get(path, startIndex=-999)).content == started.content
    assert (await api.get(path, startIndex="")).content == started.content


async def test_last_event_id_wins_over_the_index_that_a_url_keeps(api: Api) -> None:
    run = (await post(api, user("Hi"))).headers["x-execution-id"]
    path = f"{PATH}/{run}/stream"
    response = await api.client.get(path, headers={"Last-Event-ID": "2"}, params={"startIndex": 0})
    assert orjson.loads(response.content.split(b"\ndata: ")[1].split(b"\n")[0])
    assert response.content.startswith(b"id: 3\n")


async def test_an_event_source_that_has_all_of_an_ended_run_stops_reconnecting(
    api: Api,
) -> None:
    started = await post(api, user("Hi"))
    last = str(started.content.count(b"id: ") - 1)
    path = f"{PATH}/{started.headers['x-execution-id']}/stream"
    assert (await api.client.get(path, headers={"Last-Event-ID": last})).status_code == 204


async def test_a_stream_is_held_open_with_signs_of_life_while_a_run_waits(
    share_api: MakeApi,
) -> None:
    api = await make_refund_api(share_api)
    api.app.state.streams.keep_alive = 0.02
    run = await suspended(api)
    async with (
        api.listening() as client,
        asyncio.timeout(BOUND),
        client.stream("GET", f"{PATH}/{run}/stream") as response,
    ):
        found = b""
        decided = False
        async for piece in response.aiter_bytes():
            found += piece
            if found.count(b": keep-alive") >= 2 and not decided:
                decided = True
                await decide(api, run, approved=True)
    assert found.rstrip().endswith(b"[DONE]")
