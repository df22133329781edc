"""An image that a tool has brought is named by its call, and answered as what it is."""

from base64 import b64decode
from typing import Any

import pytest

from outlast import agent_tool
from outlast.client import Client, Refused
from outlast.model.workspace import Scope
from tests.rooms.conftest import MakeApi
from tests.support.api import frames
from tests.support.databases import SQLITE, Database
from tests.support.images import Drawing, png
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call, spec, tool
from tests.support.trees import CHILD, agent, team_on

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


def drawer() -> tuple[FakeModel, Drawing]:
    model = FakeModel(by_turn([call(1, "draw")], ["Done."]))
    return model, Drawing(lambda _: png(1))


async def test_a_call_names_its_image_and_the_route_answers_it(make_api: MakeApi) -> None:
    model, tools = drawer()
    api = await make_api(model, agent=spec(tool("draw"), tool("look")), tools=tools)
    answer = (await api.execute({"input": "Draw"})).json()
    (drawn,) = answer["toolCalls"]
    (image,) = drawn["images"]
    assert image == {"id": image["id"], "mediaType": "image/png", "bytes": len(png(1))}
    assert image["id"] in drawn["result"]
    path = f"/v1/executions/{answer['id']}"
    stream = frames((await api.get(f"{path}/stream")).content)
    (end,) = [data for _, data in stream if data["type"] == "tool_call_end"]
    assert end["images"] == [image]
    assert stream[-1][1]["execution"]["toolCalls"][0]["images"] == [image]
    found = await api.get(f"{path}/images/{image['id']}")
    assert (found.status_code, found.content) == (200, png(1))
    assert found.headers["content-type"] == "image/png"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["cache-control"] == "private, max-age=3600"
    assert "sandbox" in found.headers["content-security-policy"]
    async with Client("http://house", api.key, transport=api.client._transport) as client:
        assert await client.image(answer["id"], image["id"]) == png(1)
        with pytest.raises(Refused) as refused:
            await client.image(answer["id"], "img_01")
        assert refused.value.reason == "image_not_found"


@pytest.mark.parametrize(("tokens", "requests"), [(4_000, 1), (8_000, 2)])
async def test_a_hard_budget_has_room_for_the_image_before_it_is_sent(
    make_api: MakeApi, tokens: int, requests: int
) -> None:
    model, tools = drawer()
    api = await make_api(model, agent=spec(tool("draw"), images=True), tools=tools)
    await api.client.put("/v1/budgets/workspace", json={"maxTokens": tokens})
    answer = (await api.execute({"input": "Draw"})).json()
    assert len(model.requests) == requests
    expected = "budget_exceeded" if requests == 1 else None
    assert (answer["error"] and answer["error"]["code"]) == expected


async def test_an_export_has_each_image_once(make_api: MakeApi) -> None:
    model = FakeModel(by_turn([call(1, "draw"), call(2, "draw")], ["Done."]))
    api = await make_api(model, agent=spec(tool("draw")), tools=Drawing(lambda _: png(1)))
    answer = (await api.execute({"input": "Draw"})).json()
    talk = answer["conversationId"]
    async with Client("http://house", api.key, transport=api.client._transport) as client:
        lines = [line async for line in client.export_conversation(talk)]
    (image,) = [line for line in lines if line["type"] == "image"]
    steps = [line for line in lines if line["type"] == "step" and line["kind"] == "tool"]
    assert [one["id"] for line in steps for one in line["images"]] == [image["id"]] * 2
    assert b64decode(image["data"]) == png(1)
    assert (image["executionId"], image["mediaType"]) == (answer["id"], "image/png")


async def test_a_foreign_key_and_one_without_the_scope_do_not_see_it(make_api: MakeApi) -> None:
    model, tools = drawer()
    api = await make_api(model, agent=spec(tool("draw")), tools=tools)
    answer = (await api.execute({"input": "Draw"})).json()
    path = f"/v1/executions/{answer['id']}/images/{answer['toolCalls'][0]['images'][0]['id']}"
    keys = api.core.services.keys
    foreign = await api.core.services.workspaces.put("other")
    for workspace_id, scopes, status in (
        (foreign.id, frozenset(Scope), 404),
        (api.caller.workspace_id, frozenset({Scope.AGENTS_EXECUTE}), 403),
    ):
        secret = (await keys.create(workspace_id, "k", scopes)).secret
        refused = await api.client.get(path, headers={"Authorization": f"Bearer {secret}"})
        assert refused.status_code == status
        assert refused.json()["error"]["requestId"]
    odd = await api.get(f"/v1/executions/nothing/images/{answer['id']}")
    assert odd.json()["error"]["code"] == "execution_not_found"


async def test_an_image_of_a_child_is_found_at_the_child(database: Database) -> None:
    lead = agent("lead", agent_tool("worker"))
    plays: Any = {
        "lead": by_turn([call(1, "worker", input="Draw")], ["Done."]),
        "worker": by_turn([call(2, "draw")], ["Drawn."]),
    }
    tools = Drawing(lambda _: png(1), worker=CHILD)
    async with team_on(database, plays, lead, agent("worker", tool("draw")), tools=tools) as team:
        root = await team.start()
        await team.until(root)
        (child,) = await team.below(root, 1)
        steps = await team.store.executions.steps(team.caller.workspace_id, child.id)
        image = steps[1].images[0]  # type: ignore[union-attr]
        get = team.core.services.images.get
        assert (await get(team.caller, child.id, image.id)).data == png(1)
        with pytest.raises(Exception, match="no such image"):
            await get(team.caller, root, image.id)
        assert await team.results(root) == ["Drawn."]
