"""What `outlast doctor` finds, by a server that runs: what the console's System page shows.

The server's own models, database and addresses are checked. What would cost it its time is left to
the command: reading a whole SQLite file.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from urllib.parse import urlsplit

from outlast.agents.loader import LoadedAgents
from outlast.agents.tools.python import ToolFunctions
from outlast.cli.composition import Composed, environment_of, tool_box
from outlast.cli.doctor import port_finding
from outlast.cli.doctor_agents import (
    agents_finding,
    has_prices,
    model_findings,
    price_findings,
    server_findings,
    tool_findings,
    unpriced_findings,
)
from outlast.cli.doctor_memory import embedder_findings
from outlast.cli.doctor_sqlite import file_modes
from outlast.model.error import OutlastError
from outlast.services.findings import Finding, Level


async def examine_running(
    composed: Composed, loaded: LoadedAgents, url: str
) -> AsyncGenerator[Finding, None]:
    """Yield the findings, one check after the other; `url` is where the server answers."""
    async for finding in _database(composed, loaded):
        yield finding
    settings = composed.core.settings
    yield agents_finding(settings, loaded)
    for finding in await asyncio.to_thread(model_findings, composed.models, loaded.models):
        yield finding
    embeddings = await _embeddings(composed, loaded)
    for finding in await asyncio.to_thread(embedder_findings, composed.embedders, embeddings):
        yield finding
    for finding in await _tools(composed, loaded):
        yield finding
    for finding in price_findings(settings, loaded, embeddings):
        yield finding
    if has_prices(settings, loaded):
        for finding in unpriced_findings(composed.core.services.prices.of(loaded.models)):
            yield finding
    yield await port_finding(replace(settings, port=urlsplit(url).port or settings.port))


async def _database(composed: Composed, loaded: LoadedAgents) -> AsyncGenerator[Finding, None]:
    core = composed.core
    if core.settings.on_postgres:
        from outlast.cli.doctor_postgres import examine_postgres

        async for finding in examine_postgres(core.settings, core.clock, loaded):
            yield finding
        return
    path = core.settings.database_path
    for finding in file_modes(path):
        yield finding
    try:
        await core.store.ready()
    except OutlastError as error:
        yield Finding("database", Level.FAIL, error.message, "outlast doctor examines the file")
    else:
        yield Finding("database", Level.OK, f"{path} answers")


async def _embeddings(composed: Composed, loaded: LoadedAgents) -> list[str]:
    named = {one.embedding for one in loaded.memory_stores.values()}
    named |= await composed.core.store.memories.embedding_models()
    return sorted(filter(None, named))


async def _tools(composed: Composed, loaded: LoadedAgents) -> list[Finding]:
    """Check tools and MCP servers by connections of their own."""
    core = composed.core
    environ = environment_of(core.settings)
    findings = list(tool_findings(loaded, environ))
    box = tool_box(core.settings, core.clock, ToolFunctions())
    try:
        return findings + await server_findings(loaded, box, environ)
    finally:
        await box.close()
