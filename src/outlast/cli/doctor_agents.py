"""What `outlast doctor` finds of agents: their models, tools, MCP servers and prices."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from outlast.agents.loader import LoadedAgents
from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.port import ToolContext
from outlast.agents.readiness import model_problem, tools_not_ready
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.amount import amount
from outlast.model.error import Misconfigured, ToolsUnavailable
from outlast.model.price import BROWSER_SECONDS
from outlast.services.findings import Finding, Level
from outlast.services.prices import Priced
from outlast.settings import Settings


def agents_finding(settings: Settings, loaded: LoadedAgents) -> Finding:
    """Return which agents the file has."""
    if not settings.agents:
        text = "no agents file is named"
        return Finding("agents", Level.WARN, text, "outlast init, or name it: --agents FILE")
    names = ", ".join(spec.name for spec in loaded.specs)
    return Finding("agents", Level.OK, f"{settings.agents}: {names}")


def model_findings(catalogue: ModelCatalogue, names: Iterable[str]) -> list[Finding]:
    """Check the models; it imports their SDKs, which may take seconds."""
    return [_model(catalogue, name) for name in sorted(names)]


def _model(catalogue: ModelCatalogue, name: str) -> Finding:
    if (problem := model_problem(name, catalogue)) is not None:
        return Finding(f"model {name}", Level.FAIL, problem)
    return Finding(f"model {name}", Level.OK, "is ready")


def tool_findings(loaded: LoadedAgents, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield a finding for each tool that could not run."""
    for spec in loaded.specs:
        for one in tools_not_ready(spec, environ):
            yield Finding(f"agent {one.agent}", Level.FAIL, one.problem)


async def server_findings(
    loaded: LoadedAgents, box: ToolBox, environ: Mapping[str, str]
) -> list[Finding]:
    """List the tools of each agent's MCP servers."""
    findings = []
    for spec in loaded.specs:
        for source in spec.sources:
            alone = replace(spec, tools=(source,))
            if any(tools_not_ready(alone, environ)):
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
    return findings


def price_findings(
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


def unpriced_findings(found: Iterable[Priced]) -> list[Finding]:
    """Name the models without a price."""
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


def has_prices(settings: Settings, loaded: LoadedAgents) -> bool:
    """Whether the operator sells by prices at all, and there is what could have one."""
    listed = settings.prices.credits_per_dollar is not None
    return bool((listed or settings.prices.models) and loaded.specs)
