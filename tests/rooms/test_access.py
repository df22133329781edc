"""What a key may do, and what its owner sees of the operator's machine."""

import pytest

from outlast.model.agent import AgentSpec, shown_message, shown_model
from tests.support.api import Api, MakeApi
from tests.support.databases import Database

pytestmark = pytest.mark.anyio


async def test_a_key_with_scopes_that_are_gone_opens_what_it_did(
    make_api: MakeApi, database: Database
) -> None:
    api = await make_api()
    database.rows(
        """UPDATE keys SET scopes = '["executions:read", "webhooks:manage", "of a newer one"]'"""
    )
    api.core.services.keys._known.forget()
    assert (await api.get("/v1/executions")).status_code == 200
    assert (await api.get("/v1/agents")).status_code == 403


async def test_a_message_shows_files_without_their_folders_and_urls_whole() -> None:
    given = "Script /srv/my.d/a b.yaml, ~/x.gguf (/etc/ca.pem): 'local:/m/x.gguf' not 3/4, a / b"
    shown = "Script a b.yaml, x.gguf (ca.pem): 'local:x.gguf' not 3/4, a / b"
    assert shown_message(given) == shown
    url = "baseUrl is not a URL like https://host/v1; see http://h:80/a/b.c, ./c/d, ../e and x/y."
    assert shown_message(url) == url


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
