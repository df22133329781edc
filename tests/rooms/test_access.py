"""What a key may do, and what its owner sees of the operator's machine."""

import pytest

from outlast.model.agent import AgentSpec, shown_model
from outlast.model.workspace import Scope
from tests.support.api import Api
from tests.support.databases import Database

pytestmark = pytest.mark.anyio

OPENS = {
    Scope.AGENTS_READ: ("GET", "/v1/agents"),
    Scope.AGENTS_EXECUTE: ("POST", "/v1/executions/exec_01k6zj3t7hf2a9q1x5m8r4c0vb/cancel"),
    Scope.EXECUTIONS_READ: ("GET", "/v1/executions"),
    Scope.APPROVALS_WRITE: (
        "POST",
        "/v1/executions/exec_01k6zj3t7hf2a9q1x5m8r4c0vb/approvals/tc_01k6zj3t7hf2a9q1x5m8r4c0vb",
    ),
}


def test_every_scope_opens_a_route() -> None:
    assert set(OPENS) == set(Scope)


@pytest.mark.parametrize("scope", Scope)
async def test_a_route_refuses_a_key_without_its_scope_and_no_other(api: Api, scope: Scope) -> None:
    method, path = OPENS[scope]
    body = {"approved": True} if scope is Scope.APPROVALS_WRITE else None
    for scopes, refused in ((frozenset(Scope) - {scope}, True), (frozenset({scope}), False)):
        made = await api.core.services.keys.create(api.caller.workspace_id, "some", scopes)
        headers = {"Authorization": f"Bearer {made.secret}"}
        answer = await api.client.request(method, path, json=body, headers=headers)
        assert (answer.status_code == 403) is refused, answer.text


async def test_a_key_with_scopes_that_are_gone_opens_what_it_did(
    api: Api, database: Database
) -> None:
    database.rows(
        """UPDATE keys SET scopes = '["executions:read", "webhooks:manage", "of a newer one"]'"""
    )
    api.core.services.keys._known.clear()
    assert (await api.get("/v1/executions")).status_code == 200
    assert (await api.get("/v1/agents")).status_code == 403


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("scripted:/srv/outlast/agents/script.yaml", "scripted:script.yaml"),
        ("local:/home/op/models/smol.gguf", "local:smol.gguf"),
        ("scripted:script.yaml", "scripted:script.yaml"),
        ("openai-chat:org/model-7b", "openai-chat:org/model-7b"),
        ("openai-chat:a:/b", "openai-chat:a:/b"),
        ("plain", "plain"),
    ],
)
async def test_an_agents_model_is_shown_without_the_operators_folders(
    api: Api, model: str, shown: str
) -> None:
    assert shown_model(model) == shown
    spec = AgentSpec("other", model)
    await api.core.services.agents.put(api.caller.workspace_id, [(spec, model)])
    listed = (await api.get("/v1/agents")).json()["data"]
    assert [one["model"] for one in listed if one["name"] == "other"] == [shown]
    assert (await api.get("/v1/agents/other")).json()["model"] == shown
