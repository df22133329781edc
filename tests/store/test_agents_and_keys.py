"""The store's port, agents and keys: one suite for every implementation."""

import dataclasses
from dataclasses import replace

import pytest

from outlast.model.agent import AgentSpec, Effect, HttpCall, ToolSpec
from outlast.model.error import (
    AgentNotFound,
    NotFound,
)
from outlast.model.workspace import ApiKey, Plan, Scope, Workspace
from outlast.store.port import (
    Page,
    Store,
)
from outlast.testing import FakeClock
from tests.store.moves import (
    OTHER,
    WORKSPACE,
)

pytestmark = pytest.mark.anyio


async def test_an_agent_changes_by_versions_that_never_change(
    store: Store, clock: FakeClock
) -> None:
    tool = ToolSpec(
        "f", "d", {"type": "object"}, Effect.READ_ONLY, http=HttpCall("http://x", {"a": "${B}"})
    )
    spec = AgentSpec("support", "m", tools=(tool,), settings={"temperature": 0})
    first = await store.put_agent(WORKSPACE, clock.new_id("agt"), spec, "d1", 1)
    assert await store.put_agent(WORKSPACE, "agt_2", spec, "d1", 2) == first
    changed = dataclasses.replace(spec, instructions="Be kind.")
    second = await store.put_agent(WORKSPACE, "agt_3", changed, "d2", 3)
    assert (second.id, second.version) == (first.id, 2)
    assert await store.agent(WORKSPACE, "support") == second
    assert await store.agent(WORKSPACE, first.id) == second
    assert (await store.agent_version(WORKSPACE, first.id, 1)).spec == spec
    assert await store.agents(WORKSPACE, Page(10)) == [second]
    for missing in (store.agent(OTHER, "support"), store.agent_version(WORKSPACE, first.id, 3)):
        with pytest.raises(AgentNotFound):
            await missing


async def test_a_key_is_found_by_its_hash_until_it_is_replaced(store: Store) -> None:
    workspace = Workspace(WORKSPACE, "acme", 1, Plan.PROFESSIONAL)
    assert await store.put_workspace(workspace) == workspace
    assert await store.put_workspace(Workspace(OTHER, "acme", 2)) == workspace
    assert await store.workspace_named("acme") == workspace
    with pytest.raises(NotFound):
        await store.workspace_named("other")
    key = ApiKey("key_1", WORKSPACE, "k", frozenset({Scope.AGENTS_READ}), 1, "agt_1", 99)
    await store.put_key(key, "hash")
    assert await store.key_by_hash("hash") == key
    assert await store.key_by_hash("other") is None
    with pytest.raises(NotFound):
        await store.revoke_key(OTHER, "key_1", 5)
    await store.revoke_key(WORKSPACE, "key_1", 5)
    await store.revoke_key(WORKSPACE, "key_1", 6)
    assert (await store.key_by_hash("hash")) == replace(key, revoked_at=5)
    assert await store.keys(WORKSPACE) == [replace(key, revoked_at=5)]
