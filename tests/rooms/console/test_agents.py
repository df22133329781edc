"""The agents' pages show what the API shows, and no more."""

import re
from dataclasses import replace

import pytest

from outlast.agents.port import ModelRequest
from outlast.model.agent import AgentSpec, Effect, Limits, ModelChoice, ToolSpec
from outlast.model.error import ModelRejected
from outlast.model.price import ModelPrice, Prices
from outlast.model.workspace import Scope
from tests.support.api import MakeApi
from tests.support.console import signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, Reply

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]
SHOP = AgentSpec(
    "shop",
    "scripted:/home/operator/secret/script.yaml",
    "Be <kind>.",
    "Sells things.",
    tools=(
        ToolSpec(
            "pay",
            "Pays.",
            {"type": "object", "properties": {"sum": {"type": "number"}}},
            Effect.DESTRUCTIVE,
            approval=True,
            python="operators.module:pay",
        ),
    ),
)


async def test_an_agent_is_shown_without_what_is_the_operator_s(make_api: MakeApi) -> None:
    api = await make_api(agent=SHOP)
    reader = await signed_in(api)
    listed = await reader.page("/console/agents")
    assert "Sells things." in listed
    page = await reader.page("/console/agents/shop")
    for word in ("Be &lt;kind&gt;.", "scripted:script.yaml", "runs once only", "approval always"):
        assert word in page
    for hidden in ("/home/operator", "operators.module"):
        assert hidden not in page + listed
    assert "/console/playground?agent=shop" in page
    assert (await reader.get("/console/agents/nothing")).status_code == 404


async def test_an_agent_has_the_prices_of_all_its_models(make_api: MakeApi) -> None:
    prices = Prices({"actor": ModelPrice(7_000, 11_500, 2, 0)}, {})
    chain = (ModelChoice("actor"), ModelChoice(SHOP.model))
    api = await make_api(agent=replace(SHOP, model="actor", chain=chain), prices=prices)
    page = await (await signed_in(api)).page("/console/agents/shop")
    table = re.search(r'aria-label="Prices">(.*?)</table>', page, re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr><td>(.*?)</tr>", table[1])
    assert [re.split(r"</td>(?:<td[^>]*>)?", row)[:-1] for row in rows] == [
        ["actor", "7", "11.5", "0.002", "0", "outlast.toml"],
        ["scripted:script.yaml", "1000", "1000", "1000", "1000", "default"],
    ]


async def test_an_agent_s_versions_are_compared_with_the_newest(make_api: MakeApi) -> None:
    api = await make_api(agent=SHOP)
    reader, path = await signed_in(api), "/console/agents/shop"
    assert 'id="versions"' not in await reader.page(path)
    newer = replace(SHOP, instructions="Be <kind>.\nBe quick.", limits=Limits(max_steps=7))
    await api.core.services.agents.put(api.caller.workspace_id, [(newer, "other")])
    page = await reader.page(path)
    assert "Choose an earlier one" in page
    assert "<ins>" not in page
    page = await reader.page(f"{path}?version=1")
    assert re.findall("<(?:ins|del)>(.*?)</", page) == [
        "Be quick.",
        "    &#34;steps&#34;: 20,",
        "    &#34;steps&#34;: 7,",
    ]
    assert "operators.module" not in page
    for odd in ("3", "0", "x"):
        assert (await reader.get(f"{path}?version={odd}")).status_code == 404


async def test_an_agent_s_last_day_is_counted(make_api: MakeApi) -> None:
    def play(request: ModelRequest) -> Reply:
        return [ModelRejected()] if "bad" in str(request.messages[-1]) else ["Hello."]

    api = await make_api(FakeModel(play))
    reader = await signed_in(api)
    assert "no execution in 24 h" in await reader.page("/console/agents")
    for text in ("good", "bad"):
        await api.rested(await api.started(input=text))
    assert "2 executions in 24 h, 1 failed" in await reader.page("/console/agents/agent")
    assert "2 executions in 24 h, 1 failed" in await reader.page("/console/agents")


async def test_what_the_key_may_not_do_is_not_offered(make_api: MakeApi) -> None:
    api = await make_api(agent=SHOP)
    scopes = frozenset({Scope.AGENTS_READ})
    made = await api.core.services.keys.create(api.caller.workspace_id, "reader", scopes)
    reader = await signed_in(api, made.secret)
    page = await reader.page("/console/agents/shop")
    assert "/console/playground" not in page
    assert (await reader.get("/console")).headers["location"] == "/console/agents"
