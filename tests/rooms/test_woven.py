"""`?children=true`: the frames of a tree in one stream, gap-free over any interruption."""

from collections import defaultdict
from typing import Any

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.client import Client
from outlast.model.agent import AgentSpec
from outlast.model.error import InvalidCursor
from outlast.model.event import Cursor
from outlast.rooms.executions.stream.positions import MAX_CHARACTERS, Position, parsed
from tests.rooms.conftest import MakeApi
from tests.support.api import Api, frames
from tests.support.cutting_proxy import CuttingProxy
from tests.support.models import FakeModel, Reply
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.trees import CHILD, heard, said

pytestmark = pytest.mark.anyio
PAY = call(900, "pay").id
Frames = list[tuple[str, dict[str, Any]]]


def _play(request: ModelRequest) -> Reply:
    """Each calls as many helpers as its input has words, and says what they gave."""
    given, words = heard(request), said(request).split()
    if given:
        return ["I ", "heard ", f"{len(given)}."]
    if words == ["pay"]:
        return ["Let me. ", call(900, "pay")]
    if len(words) == 1:
        return ["Said ", words[0]]
    inner = {"team": "a b c", "person": "pay"}
    base = 1 if words[0] == "all" else 100
    return [call(base + n, "helper", input=inner.get(w, w)) for n, w in enumerate(words[1:])]


@pytest.fixture
async def api(share_api: MakeApi) -> Api:
    made = await share_api(
        FakeModel(_play),
        agent=spec(agent_tool("helper")),
        tools=FakeTools(helper=CHILD, pay=lambda _: "paid"),
    )
    helper = AgentSpec("helper", "actor", tools=(agent_tool("helper"), tool("pay", approval=True)))
    await made.core.services.agents.put(made.caller.workspace_id, [(helper, "1")])
    return made


def _each(found: Frames) -> dict[str, list[dict[str, Any]]]:
    """The frames of each execution, in order, with their ids in its own stream."""
    of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, data in found:
        of[data["executionId"]].append(data)
    return of


async def _stream(api: Api, root: str, **more: str) -> Frames:
    response = await api.get(f"/v1/executions/{root}/stream", children="true", **more)
    assert response.status_code == 200, response.text
    return frames(response.content)


async def _alone(api: Api, execution_id: str) -> list[dict[str, Any]]:
    """The frames of an execution's own stream, as they are in a woven one."""
    found = frames((await api.get(f"/v1/executions/{execution_id}/stream")).content)
    shown = []
    for cursor, data in found:
        rest = {name: value for name, value in data.items() if name != "type"}
        if data["type"].startswith("child_"):
            rest["childId"] = rest.pop("executionId")
        elif data["type"] != "start" and "executionId" in rest:
            continue  # a copy of a call below
        rest.pop("executionId", None)
        shown.append({"type": data["type"], "executionId": execution_id, "cursor": cursor, **rest})
    return shown


async def _ended(api: Api, text: str) -> str:
    """A tree that has ended; a call that needs a person is approved."""
    root = (await api.execute({"input": text})).json()
    if root["status"] == "suspended":
        path = f"/v1/executions/{root['id']}/approvals/{PAY}"
        assert (await api.client.post(path, json={"approved": True})).status_code == 200
        await api.rested(root["id"])
    return str(root["id"])


@pytest.mark.parametrize("text", ["all x team person", "all a b c d e f"])
async def test_each_execution_has_its_own_frames_and_any_cut_continues_without_gap(
    api: Api, text: str
) -> None:
    root = await _ended(api, text)
    whole = await _stream(api, root)
    of = _each(whole)
    for execution_id, found in of.items():
        assert found == await _alone(api, execution_id)
    tree = (await api.get("/v1/executions", rootId=root)).json()["data"]
    assert {root, *(one["id"] for one in tree)} == set(of)
    assert whole[0][1]["type"] == "start"
    assert (whole[-1][1]["type"], whole[-1][1]["executionId"]) == ("done", root)
    for place, (cursor, _) in enumerate(whole[:-1]):
        rest = await _stream(api, root, after=cursor)
        again = _each([*whole[: place + 1], *rest])
        assert again == of, cursor
    path = f"/v1/executions/{root}/stream"
    behind = await api.get(path, children="true", after=whole[-1][0])
    assert behind.status_code == 204


async def test_a_childs_frames_lie_between_its_start_and_its_end(api: Api) -> None:
    root = await _ended(api, "all x team")
    begun: dict[str, int] = {}
    ended: dict[str, int] = {}
    places: dict[str, list[int]] = defaultdict(list)
    for place, (_, data) in enumerate(await _stream(api, root)):
        places[data["executionId"]].append(place)
        if data["type"] == "child_started":
            begun[data["childId"]] = place
        if data["type"] == "child_finished":
            ended[data["childId"]] = place
    assert len(begun) == 4
    for child, found in places.items():
        if child != root:
            assert begun[child] < min(found) <= max(found) < ended[child]


async def test_a_live_stream_has_what_a_replay_has(api: Api) -> None:
    response = await api.client.post(
        "/v1/agents/agent/execute?children=true", json={"input": "all x team y", "stream": True}
    )
    live = frames(response.content)
    root = live[0][1]["executionId"]
    assert live[0][1]["type"] == "start"
    assert _each(live) == _each(await _stream(api, root))


async def test_a_hundred_children_keep_the_cursor_short(api: Api) -> None:
    root = await _ended(api, "all " + " ".join(f"w{n}" for n in range(8)))
    longest = max(len(cursor) for cursor, _ in await _stream(api, root))
    assert longest < 8 * 12 + 12
    full = Position(Cursor(12, 12345), below={n: Position(Cursor(12, 12345)) for n in range(100)})
    levels = Position(Cursor(1, 1), below={0: full})
    assert len(str(levels)) * 5 < MAX_CHARACTERS


async def test_a_deleted_child_ends_nothing_but_itself(api: Api) -> None:
    root = await _ended(api, "all x team")
    (gone, *_) = (await api.get("/v1/executions", parentId=root)).json()["data"]
    assert (await api.client.delete(f"/v1/execution/{gone['id']}")).status_code == 204
    of = _each(await _stream(api, root))
    assert gone["id"] not in of
    assert of[root] == await _alone(api, root)


@pytest.mark.parametrize(
    "cursor", ["1-2(", "1-2)", "(1-2)", "1-2(3-4)", "0:1-2", "*", "1-2(0:x)", "1-2,1-2", "é", "9-9"]
)
async def test_a_cursor_that_cannot_be_is_refused(api: Api, cursor: str) -> None:
    root = await _ended(api, "x")
    response = await api.get(f"/v1/executions/{root}/stream", children="true", after=cursor)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == "after"


async def test_without_the_parameter_a_woven_cursor_is_none(api: Api) -> None:
    root = await _ended(api, "all x")
    response = await api.get(f"/v1/executions/{root}/stream", after="1-2(0:0-1)")
    assert response.status_code == 400


@pytest.mark.parametrize(
    "text", ["0-1", "2-14(0:1-7)", "2-14(0:1-7,3:*,4:0-1(0:1-2,11:*))", "1-1(0:1-1(0:1-1))"]
)
def test_a_position_is_read_as_it_was_written(text: str) -> None:
    assert str(parsed(text)) == text


def test_a_position_that_is_too_long_or_deep_is_refused() -> None:
    for text in ("1-1" + "(0:1-1" * 9 + ")" * 9, "1-1(" + "0:1-1," * 4000 + ")"):
        with pytest.raises(InvalidCursor):
            parsed(text)


async def test_the_python_client_follows_a_tree_over_cuts_to_the_end_of_its_root(api: Api) -> None:
    root = await _ended(api, "all x team person")
    whole = await _stream(api, root)
    async with (
        api.listening() as http,
        CuttingProxy(http.base_url.port or 0, cuts=6, most=3000) as proxy,
    ):
        async with Client(proxy.url, api.key) as client:
            found = [
                (frame.id or "", dict(frame.data))
                async for frame in client.follow(root, children=True)
            ]
        assert proxy.cuts == 0
    assert _each(found) == _each(whole)
    assert len({cursor for cursor, _ in found}) == len(found)
