"""An execution that cannot be read, newer or broken, is listed in every room beside the others."""

from typing import Any

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.agent import AgentSpec
from outlast.model.execution import UNREADABLE
from tests.engine.test_unreadable import break_approval
from tests.rooms.conftest import MakeApi
from tests.support import records_room
from tests.support.api import Api
from tests.support.console import signed_in
from tests.support.databases import POSTGRESQL, SQLITE, Database
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.trees import CHILD, heard, said

pytestmark = pytest.mark.anyio
PAY = call(1, "pay").id
BROKEN = {
    "newer": "budget = '{\"max_moons\": 1}'",
    "broken": "budget = '[1]'",
    "cut": "metadata = '{'",
    "two": "budget = '7', pause_requested = '[]'",
}
DECIDED = ("/v1/executions/{}/approvals/{}", "/run/api/executions/{}/approvals/{}")


def _break(database: Database, run: str, broken: str) -> None:
    if database.kind == POSTGRESQL:
        broken = broken.replace("metadata = '{'", "budget = '\"\"'")
    database.rows(f"UPDATE executions SET {broken} WHERE id = '{run}'")


async def _three(make_api: MakeApi) -> tuple[Api, list[str]]:
    """Three executions that wait for a person, oldest first."""
    model = FakeModel(by_turn([call(1, "pay")], ["Paid."]))
    api = await make_api(
        model, agent=spec(tool("pay", approval=True)), tools=FakeTools(pay=lambda _: "paid")
    )
    runs = [await api.started(input=f"number {n}") for n in range(3)]
    for run in runs:
        assert (await api.rested(run))["status"] == "suspended"
    return api, runs


async def _data(api: Api, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = await api.get(path, **query)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return found if isinstance(found, list) else found["data"]


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_every_list_shows_what_can_be_read(
    make_api: MakeApi, database: Database, broken: str
) -> None:
    api, runs = await _three(make_api)
    _break(database, runs[1], broken)
    newest_first = runs[::-1]
    for more in ({}, {"full": "true"}, {"status": "suspended"}):
        listed = await _data(api, "/v1/executions", **more)
        assert [one["id"] for one in listed] == newest_first
        assert [one["error"] is None for one in listed] == [True, False, True]
        assert listed[1]["error"]["message"] == UNREADABLE.message
        assert (listed[1]["input"], listed[1]["status"]) == ("number 1", "suspended")
    page = (await api.get("/v1/executions", limit=2)).json()
    rest = await _data(api, "/v1/executions", after=page["nextCursor"])
    assert [one["id"] for one in rest] == [runs[0]]

    agent = page["data"][0]["agentId"]
    for path in (f"/v1/agents/{agent}/events", "/v1/events"):
        events = await _data(api, path)
        assert [one["id"] for one in events] == newest_first
        assert [one["error"] for one in events] == [None, UNREADABLE.message, None]
    records = await _data(api, records_room.PATH)
    assert [one["id"] for one in records] == [records_room.uuid(run) for run in newest_first]
    assert records[1]["detail"]["error"]["message"] == UNREADABLE.message

    reader = await signed_in(api)
    shown = await reader.page("/console/executions")
    assert all(run in shown for run in runs)
    approvals = await reader.page("/console/approvals")
    assert all(run in approvals for run in runs)


async def test_an_unreadable_step_or_approval_is_listed_with_what_can_be_read(
    make_api: MakeApi, database: Database
) -> None:
    api, runs = await _three(make_api)
    database.rows(f"UPDATE steps SET data = '{{}}' WHERE execution_id = '{runs[0]}'")
    break_approval(database, runs[1])
    decided = await api.client.post(
        f"/v1/executions/{runs[2]}/approvals/{PAY}", json={"approved": True}
    )
    assert decided.status_code == 200
    await api.rested(runs[2])
    database.rows(f"UPDATE steps SET data = '{{}}' WHERE execution_id = '{runs[2]}'")
    for more in ({}, {"full": "true"}):
        listed = await _data(api, "/v1/executions", **more)
        assert [one["id"] for one in listed] == runs[::-1]
        assert listed[0]["error"]["message"] == UNREADABLE.message
    approvals = await _data(api, "/v1/approvals")
    if database.kind == SQLITE:
        assert [one["executionId"] for one in approvals] == runs[1::-1]
        assert approvals[0]["reason"] == UNREADABLE.message
    else:  # a kind of a newer version, which is not known to be an approval
        assert [one["executionId"] for one in approvals] == runs[:1]
    refused = await api.client.post(
        f"/v1/executions/{runs[1]}/approvals/{PAY}", json={"approved": True}
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (500, "execution_unreadable")


@pytest.mark.parametrize("path", DECIDED)
async def test_a_decision_on_an_unreadable_execution_answers_so_and_changes_nothing(
    make_api: MakeApi, database: Database, path: str
) -> None:
    api, runs = await _three(make_api)
    _break(database, runs[1], BROKEN["newer"])
    refused = await api.client.post(path.format(runs[1], PAY), json={"approved": True})
    assert refused.status_code == 500
    assert f"`outlast executions delete {runs[1]}` removes it" in refused.text
    rows = database.rows(f"SELECT status FROM executions WHERE id = '{runs[1]}'")
    assert rows == [("suspended",)]
    taken = await api.client.post(path.format(runs[0], PAY), json={"approved": True})
    assert taken.status_code == 200
    assert (await api.rested(runs[0]))["output"] == "Paid."

    database.rows(f"UPDATE executions SET budget = '{{}}' WHERE id = '{runs[1]}'")
    again = await api.client.post(path.format(runs[1], PAY), json={"approved": True})
    assert again.status_code == 200
    assert (await api.rested(runs[1]))["output"] == "Paid."


async def test_each_room_answers_one_that_cannot_be_read_in_its_own_shape(
    make_api: MakeApi, database: Database
) -> None:
    api, runs = await _three(make_api)
    _break(database, runs[1], BROKEN["newer"])
    for path in ("/v1/executions", records_room.PATH, "/v1/execution"):
        answer = await api.get(f"{path}/{runs[1]}")
        shown = answer.json()
        assert answer.status_code == 500
        assert shown.get("error", shown)["code"] == "execution_unreadable"
    answer = await api.get(f"/run/api/executions/{runs[1]}")
    assert (answer.status_code, "cannot be read" in answer.json()["error"]) == (500, True)
    reader = await signed_in(api)
    assert "cannot be read" in (await reader.get(f"/console/executions/{runs[1]}")).text


@pytest.mark.parametrize("broken", [*BROKEN.values(), "reserved = '[1]'"])
async def test_one_that_cannot_be_read_is_deleted_and_the_turn_behind_it_runs(
    make_api: MakeApi, database: Database, broken: str
) -> None:
    api, runs = await _three(make_api)
    conversation = (await api.get(f"/v1/executions/{runs[1]}")).json()["conversationId"]
    behind = await api.started(input="behind", conversationId=conversation)
    _break(database, runs[1], broken)
    assert (await api.client.delete(f"/v1/executions/{runs[1]}")).status_code == 204
    assert (await api.get(f"/v1/executions/{runs[1]}")).status_code == 404
    assert (await api.rested(behind))["status"] == "suspended"


async def test_a_conversation_with_one_that_cannot_be_read_is_deleted(
    make_api: MakeApi, database: Database
) -> None:
    api, runs = await _three(make_api)
    conversation = (await api.get(f"/v1/executions/{runs[1]}")).json()["conversationId"]
    _break(database, runs[1], BROKEN["newer"])
    assert (await api.client.delete(f"/v1/conversations/{conversation}")).status_code == 204
    rows = database.rows(f"SELECT status, is_purged FROM executions WHERE id = '{runs[1]}'")
    assert [(status, bool(purged)) for status, purged in rows] == [("failed", True)]


async def test_a_child_that_cannot_be_read_is_shown_in_its_tree(
    make_api: MakeApi, database: Database
) -> None:
    api = await make_api(
        FakeModel(_play),
        agent=spec(agent_tool("helper")),
        tools=FakeTools(helper=CHILD, pay=lambda _: "paid"),
        prices=records_room.PRICES,
    )
    helper = AgentSpec("helper", "actor", tools=(tool("pay", approval=True),))
    await api.core.services.agents.put(api.caller.workspace_id, [(helper, "1")])
    root = (await api.execute({"input": "upper"})).json()
    (child,) = await _data(api, "/v1/executions", parentId=root["id"])
    _break(database, child["id"], BROKEN["newer"])
    tree = await records_room.tree(api, root["id"])
    (shown,) = [one for one in tree["children"] if one["isAgentic"]]
    assert shown["id"] == records_room.uuid(child["id"])
    assert shown["detail"]["error"]["message"] == UNREADABLE.message
    assert tree["creditsUsed"] == sum(one["creditsUsed"] for one in tree["children"]) > 0
    again = (await api.get(f"/v1/executions/{root['id']}")).json()
    assert again == root
    reader = await signed_in(api)
    assert child["id"] in await reader.page(f"/console/executions/{root['id']}")


def _play(request: ModelRequest) -> Reply:
    given = heard(request)
    if given:
        return [f"{said(request)}: {given[0]}"]
    return [call(2, "pay") if said(request) == "lower" else call(1, "helper", input="lower")]
