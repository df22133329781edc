"""The routes that pause, resume, roll back, decide and delete, and the frames that tell of it."""

import asyncio
from typing import Any

import pytest

from outlast.agents.port import ModelRequest
from outlast.model.agent import Effect
from outlast.model.message import UserMessage
from outlast.model.workspace import Scope
from tests.rooms.test_fold import same_as_get
from tests.support.api import Api, MakeApi, frames, kinds
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
SCHEMA = {"type": "object", "properties": {"amount": {"type": "integer"}}}


async def asking(share_api: MakeApi, **more: Any) -> tuple[Api, str]:
    pay = tool("pay", Effect.DESTRUCTIVE, approval=True)
    object.__setattr__(pay, "parameters", SCHEMA)
    model = FakeModel(by_turn(["Let me. ", call(1, "pay", amount=5)], ["Done."]))
    api = await share_api(model, spec(pay), FakeTools(pay=lambda a: a), **more)
    execution_id = await api.started()
    assert (await api.rested(execution_id))["status"] == "suspended"
    return api, execution_id


async def post(api: Api, path: str, **body: Any) -> tuple[int, Any]:
    answer = await api.client.post(f"/v1/executions/{path}", json=body)
    return answer.status_code, answer.json()


async def decide(api: Api, execution_id: str, **body: Any) -> tuple[int, Any]:
    return await post(api, f"{execution_id}/approvals/{call(1, 'pay').id}", **body)


async def test_an_approval_is_listed_decided_and_listed_no_more(share_api: MakeApi) -> None:
    api, execution_id = await asking(share_api)
    page = (await api.get("/v1/approvals")).json()
    assert (page["hasMore"], page["nextCursor"]) == (False, None)
    (waiting,) = page["data"]
    assert (waiting["executionId"], waiting["approved"]) == (execution_id, None)
    status, decided = await decide(
        api, execution_id, approved=True, reason="ok", parameters={"amount": 3}
    )
    assert status == 200
    assert (decided["parameters"], decided["effectiveParameters"]) == ({"amount": 5}, {"amount": 3})
    assert decided["decidedBy"] == api.caller.key_id
    execution = await same_as_get(api, execution_id)
    assert execution["toolCalls"][0]["parameters"] == {"amount": 3}
    assert (await api.get("/v1/approvals")).json()["data"] == []
    stream = frames((await api.get(f"/v1/executions/{execution_id}/stream")).content)
    resolved = next(data for _, data in stream if data["type"] == "approval_resolved")
    assert resolved["parameters"] == {"amount": 3}
    assert resolved["decidedBy"] == api.caller.key_id


async def test_approvals_are_paged(share_api: MakeApi) -> None:
    api, first = await asking(share_api)
    second = await api.started()
    await api.rested(second)
    page = (await api.get("/v1/approvals", limit=1)).json()
    assert ([a["executionId"] for a in page["data"]], page["hasMore"]) == ([second], True)
    rest = (await api.get("/v1/approvals", limit=1, after=page["nextCursor"])).json()
    assert ([a["executionId"] for a in rest["data"]], rest["hasMore"]) == ([first], False)
    wrong = await api.get("/v1/approvals", after="x")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "after")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"approved": True, "parameters": {"amount": "much"}}, 422, "parameters.amount"),
        ({"approved": True, "result": 1}, 422, "result"),
        ({"approved": True, "reason": "a" * 65_537}, 422, "reason"),
        ({"approved": "yes"}, 422, "approved"),
        ({}, 400, "approved"),
    ],
)
async def test_a_decision_that_cannot_be_names_its_field(
    share_api: MakeApi, body: dict[str, Any], status: int, param: str
) -> None:
    api, execution_id = await asking(share_api)
    found, answer = await decide(api, execution_id, **body)
    assert (found, answer["error"]["param"]) == (status, param)
    assert (await api.get("/v1/approvals")).json()["data"]


async def test_the_first_decision_stands(share_api: MakeApi) -> None:
    api, execution_id = await asking(share_api)
    for body, status in (({"approved": False}, 200),) * 2 + (({"approved": True}, 409),):
        assert (await decide(api, execution_id, **body))[0] == status
    unknown = await post(api, f"{execution_id}/approvals/{call(7, 'x').id}", approved=True)
    assert (unknown[0], unknown[1]["error"]["code"]) == (404, "approval_not_found")


async def test_deciding_needs_its_scope(share_api: MakeApi) -> None:
    api, execution_id = await asking(share_api, scopes=frozenset(Scope) - {Scope.APPROVALS_WRITE})
    assert (await decide(api, execution_id, approved=True))[0] == 403


async def test_a_roll_back_is_shown_and_its_last_frame_is_what_get_answers(
    share_api: MakeApi,
) -> None:
    replies = by_turn(["One. ", call(1, "look")], ["Two. ", call(2, "look")], ["End."])
    api = await share_api(FakeModel(replies), spec(tool("look")), FakeTools(look=lambda _: "x"))
    execution_id = await api.started()
    await same_as_get(api, execution_id)
    listed = (await api.get(f"/v1/executions/{execution_id}/checkpoints")).json()["data"]
    assert [c["step"] for c in listed] == [1, 2, 3, 4, 5]
    for _ in range(2):
        status, rolled = await post(api, f"{execution_id}/resume", checkpointId=listed[1]["id"])
        assert (status, rolled["output"], rolled["usage"]["totalTokens"]) == (200, "One. ", 15)
        await api.rested(execution_id)
    execution = await same_as_get(api, execution_id)
    assert (execution["output"], execution["usage"]["totalTokens"]) == ("End.", 45)
    assert execution["creditsUsed"] > 0.045
    stream = frames((await api.get(f"/v1/executions/{execution_id}/stream")).content)
    cursors = [cursor for cursor, _ in stream]
    resumed = [data for _, data in stream if data["type"] == "resumed"]
    assert {data["step"] for data in resumed} == {2}
    kept = cursors.index(resumed[0]["behind"])
    assert stream[kept][1]["type"] == "tool_call_end"
    assert kinds(stream).count("done") >= 1
    after = (await api.get(f"/v1/executions/{execution_id}/checkpoints")).json()["data"]
    assert [c["step"] for c in after if not c["superseded"]] == [1, 2, 9, 10, 11]


async def test_pause_and_resume_of_what_waits(share_api: MakeApi) -> None:
    api, execution_id = await asking(share_api)
    assert (await post(api, f"{execution_id}/resume"))[0] == 409
    status, paused = await post(api, f"{execution_id}/pause", reason="lunch")
    assert (status, paused["status"]) == (200, "paused")
    assert len(paused["pendingApprovals"]) == 1
    assert (await post(api, f"{execution_id}/resume"))[1]["status"] == "suspended"
    await decide(api, execution_id, approved=True)
    await same_as_get(api, execution_id)
    stream = frames((await api.get(f"/v1/executions/{execution_id}/stream")).content)
    assert {"type": "paused", "reason": "lunch"} in [data for _, data in stream]
    assert (await post(api, f"{execution_id}/pause"))[0] == 409
    for wrong in ("nonsense", "cp_01k6zj3t7hf2a9q1x5m8r4c0vb"):
        answer = await post(api, f"{execution_id}/resume", checkpointId=wrong)
        assert (answer[0], answer[1]["error"]["code"]) == (404, "checkpoint_not_found")


async def test_a_deleted_execution_is_gone(api: Api) -> None:
    execution_id = await api.started()
    await api.rested(execution_id)
    path = f"/v1/executions/{execution_id}"
    assert (await api.client.delete(path)).status_code == 204
    for gone in (path, f"{path}/stream", f"{path}/checkpoints"):
        assert (await api.get(gone)).status_code == 404
    assert (await api.client.delete(path)).status_code == 404
    assert (await api.get("/v1/executions")).json()["data"] == []


async def test_a_roll_back_to_a_last_answer_without_words_ends_without_words(
    share_api: MakeApi,
) -> None:
    replies = by_turn(["Look. ", call(1, "look")], [])
    api = await share_api(FakeModel(replies), spec(tool("look")), FakeTools(look=lambda _: "x"))
    execution_id = await api.started()
    assert (await same_as_get(api, execution_id))["output"] == ""
    listed = (await api.get(f"/v1/executions/{execution_id}/checkpoints")).json()["data"]
    await post(api, f"{execution_id}/resume", checkpointId=listed[-1]["id"])
    assert (await same_as_get(api, execution_id))["output"] == ""


async def test_what_waits_for_a_place_shows_what_waits_for_a_person(make_api: MakeApi) -> None:
    gate, waiting = asyncio.Event(), call(2, "pay")

    def play(request: ModelRequest) -> Reply:
        if request.messages[-1] == UserMessage("Wait"):
            return ["Hm", gate]
        return ["Let me. ", call(1, "look"), waiting] if len(request.messages) == 1 else ["Done."]

    agent = spec(tool("look"), tool("pay", Effect.DESTRUCTIVE, approval=True))
    tools = FakeTools(look=lambda _: 1, pay=lambda _: 1)
    api = await make_api(FakeModel(play), agent, tools, concurrency=1)
    execution_id = await api.started()
    await api.rested(execution_id)
    listed = (await api.get(f"/v1/executions/{execution_id}/checkpoints")).json()["data"]
    await post(api, f"{execution_id}/pause")
    other = await api.started(input="Wait")
    await until(lambda: api.core.engine.running == 1)
    await post(api, f"{execution_id}/resume", checkpointId=listed[0]["id"])
    queued = (await api.get(f"/v1/executions/{execution_id}")).json()
    assert queued["status"] == "queued"
    assert [one["toolCallId"] for one in queued["pendingApprovals"]] == [waiting.id]
    gate.set()
    await api.rested(other)
    assert (await api.rested(execution_id))["status"] == "suspended"
