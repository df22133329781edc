"""Agents that call agents, over HTTP: what each room shows of a tree, and where it is decided."""

import re
from typing import Any

import orjson
import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.agent import AgentSpec
from tests.rooms.conftest import MakeApi
from tests.support.api import Api, frames
from tests.support.console import signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, Reply
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.trees import CHILD, heard, said

pytestmark = pytest.mark.anyio
PAY = call(2, "pay").id


def _play(request: ModelRequest) -> Reply:
    given = heard(request)
    if given:
        return [f"{said(request)}: {given[0]}"]
    return [call(2, "pay") if said(request) == "lower" else call(1, "helper", input="lower")]


@pytest.fixture
async def api(share_api: MakeApi) -> Api:
    """A server whose agent calls another, which needs an approval."""
    made = await share_api(
        FakeModel(_play),
        agent=spec(agent_tool("helper")),
        tools=FakeTools(helper=CHILD, pay=lambda _: "paid"),
    )
    helper = AgentSpec("helper", "actor", tools=(tool("pay", approval=True),))
    await made.core.services.agents.put(made.caller.workspace_id, [(helper, "1")])
    return made


async def _tree(api: Api) -> tuple[dict[str, Any], dict[str, Any]]:
    """A root that waits for a person, as it is answered; and its child."""
    response = await api.execute({"input": "upper"})
    assert response.status_code == 200, response.text
    root = response.json()
    listed = (await api.get("/v1/executions", parentId=root["id"])).json()["data"]
    assert len(listed) == 1
    return root, listed[0]


async def test_the_answer_of_a_root_names_the_call_below_that_waits(api: Api) -> None:
    root, child = await _tree(api)
    assert (root["status"], child["status"]) == ("suspended", "suspended")
    assert (root["parentId"], child["parentId"]) == (None, root["id"])
    (pending,) = root["pendingApprovals"]
    assert pending == {
        "toolCallId": PAY,
        "name": "pay",
        "parameters": {},
        "kind": "approval",
        "executionId": child["id"],
    }
    (own,) = child["pendingApprovals"]
    assert "executionId" not in own
    for listed in (await api.get("/v1/executions")).json()["data"]:
        assert [one["toolCallId"] for one in listed["pendingApprovals"]] == [PAY]


@pytest.mark.only(SQLITE)
async def test_the_console_shows_what_a_root_has_spent_as_the_api_does(api: Api) -> None:
    root, child = await _tree(api)
    reader = await signed_in(api)
    spent = [
        (await api.get(f"/v1/executions/{one['id']}")).json()["creditsUsed"]
        for one in (root, child)
    ]
    assert spent[0] > spent[1] > 0
    listed = await reader.page("/console/executions")
    shown = [float(one) for one in re.findall(r'data-name="credits"[^>]*>([^<]+)<', listed)]
    assert sorted(shown, reverse=True) == spent
    page = await reader.page(f"/console/executions/{root['id']}")
    assert f"{spent[0]} credits with what it has called" in page
    lines = await reader.page(f"/console/chosen?do=export&id={root['id']}")
    assert orjson.loads(lines)["creditsUsed"] == spent[0]


@pytest.mark.parametrize("room", ["/v1/executions", "/run/api/executions"])
async def test_it_is_decided_at_the_root_in_both_rooms(api: Api, room: str) -> None:
    root, child = await _tree(api)
    path = f"{room}/{root['id']}/approvals/{PAY}"
    response = await api.client.post(path, json={"approved": True})
    assert response.status_code == 200, response.text
    ended = await api.rested(root["id"])
    assert (ended["status"], ended["output"]) == ("completed", "upper: lower: paid")
    again = await api.client.post(path, json={"approved": True})
    assert again.json() == response.json()
    stream = frames((await api.get(f"/v1/executions/{root['id']}/stream")).content)
    begun, ended_ = (data for _, data in stream if data["type"].startswith("child_"))
    of_child = {"toolCallId": call(1, "helper").id, "executionId": child["id"]}
    assert begun == {"type": "child_started", **of_child, "agent": "helper"}
    assert ended_ == {"type": "child_finished", **of_child, "status": "completed"}
    shown = [data for _, data in stream if "approval" in data["type"]]
    assert [(one["type"], one["toolCallId"], one["executionId"]) for one in shown] == [
        ("approval_requested", PAY, child["id"]),
        ("approval_resolved", PAY, child["id"]),
    ]


async def test_lists_filter_by_parent_and_root_and_records_nest(api: Api) -> None:
    root, child = await _tree(api)
    for name in ("parentId", "rootId"):
        found = (await api.get("/v1/executions", **{name: root["id"]})).json()["data"]
        assert [one["id"] for one in found] == [child["id"]]
        assert (await api.get("/v1/executions", **{name: child["id"]})).json()["data"] == []
    await api.client.post(f"/v1/executions/{root['id']}/approvals/{PAY}", json={"approved": True})
    await api.rested(root["id"])
    tree = (await api.get("/api/v1/executions/nestings", executionId=root["id"])).json()
    (nested,) = [one for one in tree["children"] if one["isAgentic"]]
    assert nested["parentId"] == tree["id"]
    total = sum(one["creditsUsed"] for one in tree["children"])
    assert tree["creditsUsed"] == pytest.approx(total)
    assert nested["creditsUsed"] > 0


async def test_the_formats_of_runs_show_the_call_below(api: Api) -> None:
    root, _ = await _tree(api)
    await api.client.post(f"/v1/executions/{root['id']}/approvals/{PAY}", json={"approved": True})
    await api.rested(root["id"])
    for format_ in ("ui", "openai", "native"):
        path = f"/run/api/executions/{root['id']}/stream"
        content = (await api.get(path, format=format_)).text
        assert PAY in content, format_


async def test_a_tree_is_paused_and_resumed_by_its_root_and_its_usage_is_its_roots(
    api: Api,
) -> None:
    root, child = await _tree(api)
    for pause, resume in (
        (f"/v1/executions/{root['id']}/pause", f"/v1/execution/{root['id']}/resume"),
        (f"/v1/execution/{root['id']}/pause", f"/v1/executions/{root['id']}/resume"),
    ):
        assert (await api.client.post(pause, json={})).status_code == 200
        listed = (await api.get("/v1/executions", status="paused")).json()["data"]
        assert [one["id"] for one in listed] == [child["id"], root["id"]]
        assert (await api.client.post(resume, json={})).status_code == 200
        listed = (await api.get("/v1/executions", status="suspended")).json()["data"]
        assert [one["id"] for one in listed] == [child["id"], root["id"]]
    await api.client.post(f"/v1/executions/{root['id']}/approvals/{PAY}", json={"approved": True})
    ended = await api.rested(root["id"])
    below = (await api.get(f"/v1/executions/{child['id']}")).json()
    assert below["usage"]["totalTokens"] == 30
    assert ended["usage"]["totalTokens"] == 60
    assert ended["creditsUsed"] == pytest.approx(2 * below["creditsUsed"])
    stream = frames((await api.get(f"/v1/executions/{root['id']}/stream")).content)
    assert stream[-1][1]["usage"] == ended["usage"]
    records = (await api.get(f"/api/v1/executions/{root['id']}")).json()
    assert records["creditsUsed"] == ended["creditsUsed"]


@pytest.mark.parametrize("approved", [True, False])
async def test_the_result_of_a_call_below_is_shown_where_its_approval_was(
    api: Api, *, approved: bool
) -> None:
    root, child = await _tree(api)
    path = f"/v1/executions/{root['id']}/approvals/{PAY}"
    await api.client.post(path, json={"approved": approved})
    ended = await api.rested(root["id"])
    assert [one["name"] for one in ended["toolCalls"]] == ["helper"], "its own"
    stream = frames((await api.get(f"/v1/executions/{root['id']}/stream")).content)
    assert stream[-1][1]["execution"] == ended
    ends = [data for _, data in stream if data["type"] == "tool_call_end"]
    assert [(one["name"], one.get("executionId")) for one in ends] == [
        ("pay", child["id"]),
        ("helper", None),
    ]
    ui = f"/run/api/executions/{root['id']}/stream"
    chunks = [data for _, data in frames((await api.get(ui, format="ui")).content)]
    of_call = [one["type"] for one in chunks if one.get("toolCallId") == PAY]
    assert of_call == [
        "tool-input-available",
        "tool-approval-request",
        "tool-output-available" if approved else "tool-output-denied",
    ]
    openai = (await api.get(ui, format="openai")).text
    assert ("tool-output-available" in openai and '\\"paid\\"' in openai) is approved
