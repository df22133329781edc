"""The page of a conversation, and that of a task which its client drives."""

import re
from html import unescape

import pytest

from outlast.model.workspace import Scope
from tests.support.api import Api, MakeApi
from tests.support.console import signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


async def test_every_turn_is_on_a_page_once_and_leads_to_its_execution(make_api: MakeApi) -> None:
    api = await make_api(FakeModel(lambda request: [f"Answer {len(request.messages)}"]))
    first = await api.started(input="Turn 0")
    conversation = (await api.rested(first))["conversationId"]
    texts = [f"Turn {number}" for number in range(1, 53)]
    more = [await api.started(input=text, conversationId=conversation) for text in texts]
    turns = [first, *more]
    await api.rested(turns[-1])
    reader = await signed_in(api)
    path, shown = f"/console/conversations/{conversation}", list[str]()
    while path:
        page = await reader.page(path)
        found = re.findall(r'href="/console/executions/(exec_\w+)">the execution', page)
        assert len(found) == len(re.findall(r'class="said text plain">Turn \d', page)) > 0
        shown = found + shown
        earlier = re.search(r'href="([^"]+)">Earlier turns<', page)
        path = unescape(earlier[1]) if earlier else ""
    assert shown == turns
    assert f"/console/conversations/{conversation}" in await reader.page(
        f"/console/executions/{first}"
    )
    made = await api.core.services.keys.create(
        api.caller.workspace_id, "reader", frozenset({Scope.EXECUTIONS_READ})
    )
    page = await (await signed_in(api, made.secret)).page(f"/console/conversations/{conversation}")
    assert "Delete" not in page
    assert "Continue" not in page
    other = await api.core.services.workspaces.put("other")
    theirs = await signed_in(api, (await api.core.services.keys.create(other.id, "k")).secret)
    for answer in (
        await theirs.get(f"/console/conversations/{conversation}"),
        await theirs.send(f"/console/conversations/{conversation}/delete"),
    ):
        assert answer.status_code == 404
    gone = await reader.send(f"/console/conversations/{conversation}/delete")
    assert gone.headers["location"] == "/console/executions"
    assert (await reader.get(f"/console/conversations/{conversation}")).status_code == 404
    assert "its content is gone" in await reader.page(f"/console/executions/{first}")


async def test_a_task_is_rolled_back_to_the_state_of_a_checkpoint(api: Api) -> None:
    made = await api.client.post("/v1/execution", json={"name": "Import", "state": {"page": 1}})
    task = made.json()["data"]["id"]
    at, here = f"/v1/execution/{task}", f"/console/executions/{task}"
    await api.client.put(f"{at}/checkpoint", json={"label": "one"})
    await api.client.patch(at, json={"state": {"page": 2}})
    reader = await signed_in(api)
    assert "Its client works on it." in await reader.page(here)
    assert (await reader.send(f"{here}/pause")).status_code == 303
    (point, _) = (await api.client.get(at)).json()["data"]["checkpoints"]
    preview = await reader.page(f"{here}/checkpoints/{point['id']}")
    assert re.findall(r"<(ins|del)>(.*?)</", preview) == [
        ("del", "  &#34;page&#34;: 1"),
        ("ins", "  &#34;page&#34;: 2"),
    ]
    seen = re.search(r'name="seen" value="([^"]+)"', preview)
    assert seen
    await api.client.put(f"{at}/checkpoint", json={"label": "more", "state": {"page": 3}})
    late = await reader.send(f"{here}/checkpoints/{point['id']}", seen=seen[1])
    assert (late.status_code, "has gone on since" in late.text) == (409, True)
    seen = re.search(r'name="seen" value="([^"]+)"', late.text)
    assert seen
    done = await reader.send(f"{here}/checkpoints/{point['id']}", seen=seen[1])
    assert done.status_code == 303
    found = (await api.client.get(at)).json()["data"]
    assert (found["status"], found["state"]) == ("running", {"page": 1})
