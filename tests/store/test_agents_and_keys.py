"""The store's port, agents and keys: one suite for every implementation."""

import dataclasses
from dataclasses import replace

import pytest

from outlast.model.agent import AgentsFile, AgentSpec, Effect, HttpCall, ToolSpec
from outlast.model.error import (
    AgentNotFound,
    NotFound,
)
from outlast.model.workspace import ApiKey, Plan, Scope, Workspace
from outlast.store.page import Page
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.store import OTHER, WORKSPACE

pytestmark = pytest.mark.anyio


async def test_an_agent_changes_by_versions_that_never_change(
    store: Store, clock: FakeClock
) -> None:
    tool = ToolSpec(
        "f", "d", {"type": "object"}, Effect.READ_ONLY, http=HttpCall("http://x", {"a": "${B}"})
    )
    spec = AgentSpec("support", "m", tools=(tool,), settings={"temperature": 0})
    first = await store.agents.put(WORKSPACE, clock.new_id("agt"), spec, "d1", 1)
    assert await store.agents.put(WORKSPACE, "agt_2", spec, "d1", 2) == first
    changed = dataclasses.replace(spec, instructions="Be kind.")
    second = await store.agents.put(WORKSPACE, "agt_3", changed, "d2", 3)
    assert (second.id, second.version) == (first.id, 2)
    assert await store.agents.get(WORKSPACE, "support") == second
    assert await store.agents.get(WORKSPACE, first.id) == second
    assert (await store.agents.version(WORKSPACE, first.id, 1)).spec == spec
    assert await store.agents.page(WORKSPACE, Page(10)) == [second]
    for missing in (
        store.agents.get(OTHER, "support"),
        store.agents.version(WORKSPACE, first.id, 3),
    ):
        with pytest.raises(AgentNotFound):
            await missing


async def names_in_use(store: Store) -> set[str]:
    return {agent.spec.name for agent in await store.agents.page(WORKSPACE, Page(10))}


async def start_with(
    store: Store, source: str, digest: str, names: set[str], *, alone: bool
) -> list[str]:
    """Do what a server does that starts with an agents file."""
    for name in sorted(names):
        await store.agents.put(WORKSPACE, f"agt_{name}", AgentSpec(name, "m"), name, 1, source)
    return await store.agents.retire_unnamed(
        AgentsFile(WORKSPACE, source, digest, frozenset(names), 7, alone=alone)
    )


@pytest.mark.parametrize("alone", [True, False])
async def test_an_agent_that_its_file_no_longer_names_is_retired_and_still_found(
    store: Store, alone: bool
) -> None:
    await store.workspaces.put(Workspace(WORKSPACE, "acme", 1))
    assert await start_with(store, "a.yaml", "d1", {"old", "kept"}, alone=alone) == []
    assert await start_with(store, "a.yaml", "d2", {"new", "kept"}, alone=alone) == ["old"]
    assert await names_in_use(store) == {"new", "kept"}
    everything = await store.agents.page(WORKSPACE, Page(10), retired=True)
    assert {agent.spec.name: agent.retired_at for agent in everything} == {
        "old": 7,
        "new": None,
        "kept": None,
    }
    assert (await store.agents.get(WORKSPACE, "old")).retired_at == 7
    assert (await store.agents.version(WORKSPACE, "agt_old", 1)).spec.name == "old"
    await store.agents.retire(WORKSPACE, "agt_old", None)
    assert await names_in_use(store) == {"old", "new", "kept"}
    await store.agents.retire(OTHER, "agt_old", 9)
    assert (await store.agents.get(WORKSPACE, "old")).retired_at is None, "another workspace's"


async def test_a_server_of_an_older_deployment_that_starts_late_retires_nothing(
    store: Store,
) -> None:
    await store.workspaces.put(Workspace(WORKSPACE, "acme", 1))
    await start_with(store, "a.yaml", "d1", {"old", "kept"}, alone=False)
    assert await start_with(store, "a.yaml", "d2", {"new", "kept"}, alone=False) == ["old"]
    assert await start_with(store, "a.yaml", "d1", {"old", "kept"}, alone=False) == []
    assert await names_in_use(store) == {"old", "new", "kept"}


async def test_a_file_retires_nothing_of_another_file_unless_the_server_is_alone(
    store: Store,
) -> None:
    await store.workspaces.put(Workspace(WORKSPACE, "acme", 1))
    await start_with(store, "shop.yaml", "d1", {"shop"}, alone=False)
    assert await start_with(store, "bank.yaml", "d2", {"bank"}, alone=False) == []
    assert await start_with(store, "bank.yaml", "d2", {"bank"}, alone=True) == ["shop"]
    assert await start_with(store, "shop.yaml", "d1", {"shop"}, alone=True) == ["bank"]
    assert await names_in_use(store) == {"shop"}


async def test_a_key_is_found_by_its_hash_until_it_is_replaced(store: Store) -> None:
    workspace = Workspace(WORKSPACE, "acme", 1, Plan.PROFESSIONAL)
    assert await store.workspaces.put(workspace) == workspace
    assert await store.workspaces.put(Workspace(OTHER, "acme", 2)) == workspace
    assert await store.workspaces.named("acme") == workspace
    with pytest.raises(NotFound):
        await store.workspaces.named("other")
    key = ApiKey("key_1", WORKSPACE, "k", frozenset({Scope.AGENTS_READ}), 1, "agt_1", 99)
    await store.keys.put(key, "hash")
    assert await store.keys.by_hash("hash") == key
    assert await store.keys.by_hash("other") is None
    with pytest.raises(NotFound):
        await store.keys.revoke(OTHER, "key_1", 5)
    await store.keys.revoke(WORKSPACE, "key_1", 5)
    await store.keys.revoke(WORKSPACE, "key_1", 6)
    assert (await store.keys.by_hash("hash")) == replace(key, revoked_at=5)
    assert await store.keys.of_workspace(WORKSPACE) == [replace(key, revoked_at=5)]
