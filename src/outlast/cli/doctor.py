"""`outlast doctor`: finds what keeps this machine from serving, and the fix."""

import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from typing import Final

from outlast import logs
from outlast.agents.loader import LoadedAgents
from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.port import ToolContext
from outlast.agents.readiness import model_problem, tools_not_ready
from outlast.agents.tools.python import ToolFunctions
from outlast.cli.composition import environment_of, providers_of, read_agents, tool_box
from outlast.cli.doctor_memory import embedding_models, examine_embeddings
from outlast.cli.doctor_sqlite import examine_sqlite
from outlast.cli.price_table import priced
from outlast.cli.remote import url_of
from outlast.client import Client, Unreachable
from outlast.model.amount import amount
from outlast.model.clock import Clock, SystemClock
from outlast.model.error import Misconfigured, ToolsUnavailable
from outlast.model.extra import install
from outlast.model.price import BROWSER_SECONDS
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
        *_tools(settings, loaded),
        *await _servers(settings, loaded),
        *_prices(settings, loaded, embeddings),
        *await _unpriced(settings, loaded),
    ):
        yield finding
    yield await _port(settings)


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
    if not settings.agents:
        text = "no agents file is named"
        return loaded, Finding(
            "agents", Level.WARN, text, "outlast init, or name it: --agents FILE"
        )
    names = ", ".join(spec.name for spec in loaded.specs)
    return loaded, Finding("agents", Level.OK, f"{settings.agents}: {names}")


def _tools(settings: Settings, loaded: LoadedAgents) -> Iterator[Finding]:
    for spec in loaded.specs:
        for one in tools_not_ready(spec, environment_of(settings)):
            yield Finding(f"agent {one.agent}", Level.FAIL, one.problem)


async def _servers(settings: Settings, loaded: LoadedAgents) -> list[Finding]:
    """List the tools of each agent's MCP servers."""
    logs.configure("error", "auto")  # what it would log is found
    findings = []
    box = tool_box(settings, SystemClock(), ToolFunctions())
    for spec in loaded.specs:
        for source in spec.sources:
            alone = replace(spec, tools=(source,))
            if any(tools_not_ready(alone, os.environ)):
                continue
            check = f"MCP server {source.name} of {spec.name}"
            try:
                listed = await box.listed(alone, ToolContext("", "", ""))
            except (ToolsUnavailable, Misconfigured) as error:
                remedy = f"start it or correct its entry, then outlast tools list {spec.name}"
                findings.append(Finding(check, Level.FAIL, error.message, remedy))
            else:
                text = f"lists {amount(len(listed.offered), 'tool')}"
                findings.append(Finding(check, Level.OK, text))
    await box.close()
    return findings


async def _models(settings: Settings, loaded: LoadedAgents) -> list[Finding]:
    catalogue = ModelCatalogue(
        SystemClock(), settings.data_dir, providers=providers_of(settings, loaded)
    )
    names = sorted(loaded.models)
    findings = [_model(catalogue, name) for name in names]
    await catalogue.close()
    return findings


def _model(catalogue: ModelCatalogue, name: str) -> Finding:
    if (problem := model_problem(name, catalogue)) is not None:
        return Finding(f"model {name}", Level.FAIL, problem)
    return Finding(f"model {name}", Level.OK, "is ready")


def _prices(
    settings: Settings, loaded: LoadedAgents, embeddings: Iterable[str]
) -> Iterator[Finding]:
    """Check the prices: one under a name that nothing uses has no effect."""
    priced = (*settings.prices.models, *settings.prices.tools)
    if not priced or not loaded.specs:
        return
    models = {*loaded.models, *embeddings}
    tools = {tool.name for spec in loaded.specs for tool in spec.tools}
    listed = {
        name for name in settings.prices.tools if any(spec.has(name) for spec in loaded.specs)
    }
    strange = [name for name in settings.prices.models if name not in models]
    if any(tool.is_browser for spec in loaded.specs for tool in spec.tools):
        listed.add(BROWSER_SECONDS)
    strange += [name for name in settings.prices.tools if name not in listed]
    if not strange:
        yield Finding("prices", Level.OK, f"of {', '.join(priced)}")
        return
    text = f"no agent has {', '.join(strange)}; a model may still answer with that name"
    remedy = f"[prices] names what agents have: {', '.join(sorted(models | tools))}"
    yield Finding("prices", Level.WARN, text, remedy)


async def _unpriced(settings: Settings, loaded: LoadedAgents) -> list[Finding]:
    """Name the models without a price, if the operator sells by prices at all."""
    listed = settings.prices.credits_per_dollar is not None
    if not (listed or settings.prices.models) or not loaded.specs:
        return []
    try:
        found = await priced(settings, loaded, loaded.models)
    except Misconfigured as error:
        return [Finding("list prices", Level.FAIL, error.message)]
    without = [one for one in found if one.is_default]
    wrong = {one.problem for one in without if one.problem is not None}
    findings = [Finding("list prices", Level.FAIL, problem) for problem in sorted(wrong)]
    if without:
        names = ", ".join(one.model for one in without)
        text = f"{names}: no price, so that 1,000 tokens cost 1 credit"
        remedy = (
            "add it to [prices.models] of outlast.toml; outlast prices shows each model's price"
        )
        findings.append(Finding("models without a price", Level.WARN, text, remedy))
    return findings


async def _port(settings: Settings) -> Finding:
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
