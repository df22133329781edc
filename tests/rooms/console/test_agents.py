"""The agents' pages show what the API shows, and no more."""

import pytest

from outlast.model.agent import AgentSpec, Effect, ToolSpec
from outlast.model.workspace import Scope
from tests.support.api import MakeApi
from tests.support.console import signed_in
from tests.support.databases import SQLITE

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


async def test_what_the_key_may_not_do_is_not_offered(make_api: MakeApi) -> None:
    api = await make_api(agent=SHOP)
    scopes = frozenset({Scope.AGENTS_READ})
    made = await api.core.services.keys.create(api.caller.workspace_id, "reader", scopes)
    reader = await signed_in(api, made.secret)
    page = await reader.page("/console/agents/shop")
    assert "/console/playground" not in page
    assert (await reader.get("/console")).headers["location"] == "/console/agents"
