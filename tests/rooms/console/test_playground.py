"""The playground: turns of a conversation, and decisions beside their transcript."""

import asyncio
import re
from html import unescape

import pytest

from outlast.model.agent import AgentSpec
from outlast.model.execution import Budget
from outlast.model.workspace import Scope
from tests.support.api import MakeApi
from tests.support.console import signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


async def test_a_message_starts_a_turn_and_the_next_goes_on(make_api: MakeApi) -> None:
    api = await make_api(FakeModel(by_turn(["Hello <b>you</b>."])))
    reader = await signed_in(api)
    offered = re.findall(r"<option(?: selected)?>(\w+)<", await reader.page("/console/playground"))
    assert offered == ["agent"]
    led = await reader.send("/console/playground", agent="agent", input="One & one")
    there = led.headers["location"].removesuffix("#end")
    found = (await api.get("/v1/executions")).json()["data"]
    await api.rested(found[0]["id"])
    page = await reader.page(there)
    assert "One &amp; one" in page
    assert "Hello &lt;b&gt;you&lt;/b&gt;." in page
    conversation = there.partition("conversation=")[2]
    again = await reader.send(
        "/console/playground", agent="agent", input="Two", conversation=conversation
    )
    assert again.headers["location"].startswith(there)
    found = (await api.get("/v1/executions")).json()["data"]
    assert [one["input"] for one in found] == ["Two", "One & one"]
    assert {one["conversationId"] for one in found} == {conversation}
    await api.rested(found[0]["id"])
    page = await reader.page(there)
    assert page.index("One &amp; one") < page.index("Two")


async def test_a_message_is_edited_and_takes_the_place_of_what_came_behind_it(
    make_api: MakeApi,
) -> None:
    api = await make_api(FakeModel(by_turn(["Well."])))
    reader, there = await signed_in(api), ""
    conversation, runs = "", []
    for text in ("One", "Two", "Three"):
        sent = await reader.send(
            "/console/playground", agent="agent", input=text, conversation=conversation
        )
        there = sent.headers["location"].removesuffix("#end")
        conversation = there.partition("conversation=")[2]
        runs = (await api.get("/v1/executions")).json()["data"]
        await api.rested(runs[0]["id"])
    page = await reader.page(there)
    links = re.findall(r'href="([^"]+&amp;edit=[^"]+)#end"', page)
    assert [unescape(link).partition("edit=")[2] for link in links] == [
        one["id"] for one in reversed(runs)
    ]
    form = await reader.page(unescape(links[1]))
    assert "takes the place of “Two”" in form
    assert ">\nTwo</textarea>" in form
    (replaces,) = re.findall(r'name="replaces" value="([^"]+)"', form)
    await reader.send(
        "/console/playground",
        agent="agent",
        input="Other",
        conversation=conversation,
        replaces=replaces,
    )
    runs = (await api.get("/v1/executions")).json()["data"]
    await api.rested(runs[0]["id"])
    shown = re.findall(r'class="said text plain">(\w+)<', await reader.page(there))
    assert shown == ["One", "Other"]
    whole = await reader.page(f"/console/conversations/{conversation}")
    assert re.findall(r'class="said text plain struck">(\w+)<', whole) == ["Two", "Three"]
    assert whole.count("replaced by a later turn") == 2
    odd = await reader.send("/console/playground", agent="agent", input="x", replaces="exec_1")
    assert odd.status_code == 404


async def test_a_message_has_settings(make_api: MakeApi) -> None:
    api = await make_api()
    reader = await signed_in(api)
    fields = {"agent": "agent", "input": "Hi"}
    given = {"user": "ann", "metadata": '{"plan": "pro"}', "session": '{"name": "Ann"}'}
    sent = await reader.send("/console/playground", **fields, **given, credits="2.5", steps="3")
    assert sent.status_code == 303
    (run,) = (await api.get("/v1/executions")).json()["data"]
    assert (run["user"], run["metadata"]) == ("ann", {"plan": "pro"})
    stored = await api.core.store.executions.get(api.caller.workspace_id, run["id"])
    assert stored.budget == Budget(max_credits=2.5, max_steps=3)
    assert stored.session == {"name": "Ann"}
    page = await reader.page(f"/console/executions/{run['id']}")
    assert "<dt>At most</dt><dd>2.5 credits, 3 steps</dd>" in page
    for wrong in ({"metadata": "[1]"}, {"session": "{"}, {"credits": "x"}, {"steps": "0"}):
        assert (await reader.send("/console/playground", **fields, **wrong)).status_code == 422


async def test_a_call_is_approved_beside_its_transcript(make_api: MakeApi) -> None:
    tools = FakeTools(pay=lambda _: "paid")
    model = FakeModel(by_turn([call(1, "pay")], ["Done."]))
    api = await make_api(model, agent=spec(tool("pay", approval=True)), tools=tools)
    reader = await signed_in(api)
    led = await reader.send("/console/playground", agent="agent", input="Pay")
    there = led.headers["location"].removesuffix("#end")
    (run,) = [one["id"] for one in (await api.get("/v1/executions")).json()["data"]]
    await api.rested(run)
    page = await reader.page(there)
    form = re.search(r'action="([^"]+)" class="row decide">\s*<input[^>]+value="([^"]+)"', page)
    assert form
    back = unescape(form[2])
    assert back == there
    answer = await reader.send(form[1], do="approve", next=back)
    assert (answer.status_code, answer.headers["location"]) == (303, there)
    assert (await api.rested(run))["output"] == "Done."
    evil = await reader.send(form[1], do="approve", next="//evil.example")
    assert evil.headers.get("location", "/console") == "/console"


async def test_a_turn_that_runs_is_interrupted(make_api: MakeApi) -> None:
    held = asyncio.Event()
    api = await make_api(
        FakeModel(lambda request: ["So", held] if len(request.messages) == 1 else ["ok"])
    )
    reader = await signed_in(api)
    led = await reader.send("/console/playground", agent="agent", input="First")
    conversation = led.headers["location"].partition("conversation=")[2].removesuffix("#end")
    assert "Interrupt, and send" in await reader.page(
        f"/console/playground?conversation={conversation}"
    )
    await reader.send(
        "/console/playground", do="interrupt", input="Second", conversation=conversation
    )
    found = (await api.get("/v1/executions")).json()["data"]
    statuses = {one["input"]: (await api.rested(one["id"]))["status"] for one in found}
    assert statuses == {"First": "cancelled", "Second": "completed"}


async def test_what_cannot_be_sent_is_said(make_api: MakeApi) -> None:
    api = await make_api()
    await api.core.services.agents.put(api.caller.workspace_id, [(AgentSpec("b", "actor"), "1")])
    reader = await signed_in(api)
    for fields, status in (
        ({"agent": "agent", "input": "  "}, 422),
        ({"agent": "nix", "input": "Hi"}, 404),
        ({"agent": "", "input": "Hi"}, 400),
    ):
        answer = await reader.send("/console/playground", **fields)
        assert answer.status_code == status
    scopes = frozenset({Scope.EXECUTIONS_READ})
    made = await api.core.services.keys.create(api.caller.workspace_id, "reader", scopes)
    reader = await signed_in(api, made.secret)
    assert "<textarea" not in await reader.page("/console/playground")
    assert (await reader.send("/console/playground", input="Hi")).status_code == 403
