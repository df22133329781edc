"""`outlast doctor` on memory stores: whether their embedding models can be used here."""

from collections.abc import Iterable

from outlast.agents.embeddings.catalogue import Embedders
from outlast.agents.loader import LoadedAgents
from outlast.cli.composition import providers_of
from outlast.databases import driver_of
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured
from outlast.services.findings import Finding, Level
from outlast.settings import Settings
from outlast.store.store import Store


async def embedding_models(settings: Settings, loaded: LoadedAgents, *, opens: bool) -> list[str]:
    """Return the models of the agents file's stores and, if it opens, of the database's."""
    named = {one.embedding for one in loaded.memory_stores.values()}
    if opens:
        named |= await _stored(settings)
    return sorted(filter(None, named))


async def examine_embeddings(
    settings: Settings, loaded: LoadedAgents, names: Iterable[str]
) -> list[Finding]:
    """Check these embedding models."""
    embedders = Embedders(
        SystemClock(), settings.data_dir, providers=providers_of(settings, loaded)
    )
    findings = embedder_findings(embedders, names)
    await embedders.close()
    return findings


def embedder_findings(embedders: Embedders, names: Iterable[str]) -> list[Finding]:
    """Check these embedding models by those of this process."""
    return [_finding(embedders, name) for name in names]


async def _stored(settings: Settings) -> set[str]:
    """Return the models of all workspaces' stores."""
    store = Store.over(driver_of(settings, exclusive=False))
    await store.open()
    try:
        return await store.memories.embedding_models()
    finally:
        await store.close()


def _finding(embedders: Embedders, name: str) -> Finding:
    try:
        embedders.find(name)
    except Misconfigured as error:
        return Finding(f"embedding model {name}", Level.FAIL, error.message)
    return Finding(f"embedding model {name}", Level.OK, "is ready")
