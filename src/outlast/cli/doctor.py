"""`outlast doctor`: finds what keeps this machine from serving, and the fix."""

import os
import socket
from collections.abc import AsyncIterator
from typing import Final

from outlast import logs
from outlast.agents.loader import LoadedAgents
from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.tools.python import ToolFunctions
from outlast.cli.address import url_of
from outlast.cli.composition import environment_of, providers_of, read_agents, tool_box
from outlast.cli.doctor_agents import (
    agents_finding,
    has_prices,
    model_findings,
    price_findings,
    server_findings,
    tool_findings,
    unpriced_findings,
)
from outlast.cli.doctor_memory import embedding_models, examine_embeddings
from outlast.cli.doctor_sqlite import examine_sqlite
from outlast.cli.price_table import priced
from outlast.client import Client, Unreachable
from outlast.model.clock import Clock, SystemClock
from outlast.model.error import Misconfigured
from outlast.model.extra import install
from outlast.services.findings import Finding, Level
from outlast.services.machine import data_findings, environment_findings
from outlast.settings import Settings

_OPENED: Final = {"schema", "lock"}
"""Checks that are only made, and only succeed, on a database that this version may read."""


async def examine(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Finding]:
    """Yield the findings, one check after the other."""
    for finding in data_findings(settings):
        yield finding
    loaded, agents = _agents(settings)
    opens = False
    async for finding in _database(settings, clock or SystemClock(), loaded):
        yield finding
        opens |= finding.check in _OPENED and finding.level is Level.OK
    yield agents
    embeddings = await embedding_models(settings, loaded, opens=opens)
    for finding in (
        *environment_findings(),
        *await _models(settings, loaded),
        *await examine_embeddings(settings, loaded, embeddings),
        *tool_findings(loaded, environment_of(settings)),
        *await _servers(settings, loaded),
        *price_findings(settings, loaded, embeddings),
        *await _unpriced(settings, loaded),
    ):
        yield finding
    yield await port_finding(settings)


async def _database(
    settings: Settings, clock: Clock, loaded: LoadedAgents
) -> AsyncIterator[Finding]:
    if not settings.on_postgres:
        async for finding in examine_sqlite(settings):
            yield finding
        return
    try:
        from outlast.cli.doctor_postgres import examine_postgres
    except ImportError as error:
        text = f"Postgres needs an extra that is not installed: {error}"
        yield Finding("database", Level.FAIL, text, install("postgres"))
        return
    async for finding in examine_postgres(settings, clock, loaded):
        yield finding


def _agents(settings: Settings) -> tuple[LoadedAgents, Finding]:
    try:
        loaded = read_agents(settings)
    except Misconfigured as error:
        remedy = "correct the agents file, or write a first one: outlast init"
        finding = Finding("agents", Level.FAIL, error.message, remedy)
        return LoadedAgents(()), finding
    return loaded, agents_finding(settings, loaded)


async def _servers(settings: Settings, loaded: LoadedAgents) -> list[Finding]:
    logs.configure("error", "auto")  # what it would log is found
    box = tool_box(settings, SystemClock(), ToolFunctions())
    try:
        return await server_findings(loaded, box, os.environ)
    finally:
        await box.close()


async def _models(settings: Settings, loaded: LoadedAgents) -> list[Finding]:
    catalogue = ModelCatalogue(
        SystemClock(), settings.data_dir, providers=providers_of(settings, loaded)
    )
    findings = model_findings(catalogue, loaded.models)
    await catalogue.close()
    return findings


async def _unpriced(settings: Settings, loaded: LoadedAgents) -> list[Finding]:
    if not has_prices(settings, loaded):
        return []
    try:
        return unpriced_findings(await priced(settings, loaded, loaded.models))
    except Misconfigured as error:
        return [Finding("list prices", Level.FAIL, error.message)]


async def port_finding(settings: Settings) -> Finding:
    """Return who answers on the settings' port, if anyone does."""
    url = url_of(settings)
    if settings.port == 0:
        return Finding("port", Level.OK, "serve takes a free one")
    try:
        async with Client(url, "") as client:
            ready = await client.ready()
    except Unreachable:
        return _free(settings)
    if ready:
        return Finding("port", Level.OK, f"a server answers on {url} and takes work")
    remedy = "wait until it is ready, or choose another: outlast serve --port N"
    return Finding("port", Level.WARN, f"something answers on {url} and is not ready", remedy)


def _free(settings: Settings) -> Finding:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    where = f"{settings.host}:{settings.port}"
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        text = f"{where}: {os.strerror(error.errno) if error.errno else error}"
        return Finding("port", Level.FAIL, text, "outlast serve --port N, with a free one")
    return Finding("port", Level.OK, f"{where} is free; no server answers")
