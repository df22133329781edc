"""Composes a core for this process from agents file, models and tools, by the settings."""

import os
from dataclasses import dataclass

import structlog

from outlast.agents.browser.settings import BrowserSettings
from outlast.agents.code import CodeFunctions
from outlast.agents.dial import PrivateNetwork, guarded
from outlast.agents.embeddings.catalogue import Embedders
from outlast.agents.loader import LoadedAgents
from outlast.agents.loader import load as load_agents
from outlast.agents.memory_search import MemorySearch
from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.tools.browser_kind import PATH_VARIABLE
from outlast.agents.tools.python import ToolFunctions
from outlast.agents.tools.toolbox import ToolBox
from outlast.app import Core, build
from outlast.model.agent import Agent, AgentSpec
from outlast.model.clock import Clock, SystemClock
from outlast.model.memory import NewStore
from outlast.model.provider import ProviderSpec
from outlast.model.spec_json import spec_digest
from outlast.model.workspace import Workspace
from outlast.settings import Settings
from outlast.store.store import Store

logger = structlog.get_logger(__name__)

NO_AGENTS = LoadedAgents(())


def read_agents(settings: Settings) -> LoadedAgents:
    """Return the agents that the settings name. Raises Misconfigured."""
    return load_agents(settings.agents) if settings.agents else NO_AGENTS


def providers_of(settings: Settings, loaded: LoadedAgents) -> dict[str, ProviderSpec]:
    """Return the providers of both; of two with one name the agents file's."""
    return {**settings.providers, **loaded.providers}


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment that checks of tools look at, with what the settings name."""
    named = {PATH_VARIABLE: settings.browser_path} if settings.browser_path else {}
    return {**os.environ, **named}


@dataclass(frozen=True, slots=True)
class Composed:
    """A core, and the parts of it that come from the agents file."""

    core: Core
    models: ModelCatalogue
    embedders: Embedders
    functions: ToolFunctions
    code: CodeFunctions

    def use(self, loaded: LoadedAgents) -> None:
        """Use these functions and providers, and scripts as they are, from now on."""
        self.functions.use(loaded.functions)
        self.code.use(loaded.code)
        providers = providers_of(self.core.settings, loaded)
        self.models.use(providers)
        self.embedders.use(providers)


def compose(settings: Settings, loaded: LoadedAgents, *, worker: bool = True) -> Composed:
    """Return a core for these agents and those in the database; nothing is opened yet.

    Without `worker` other processes run the executions. Raises Misconfigured.
    """
    clock = SystemClock()
    providers = providers_of(settings, loaded)
    models = ModelCatalogue(clock, settings.data_dir, providers=providers)
    embedders = Embedders(clock, settings.data_dir, providers=providers)
    functions, code = ToolFunctions(loaded.functions), CodeFunctions(loaded.code)
    core = build(
        settings,
        models=models,
        tools=lambda *of_server: tool_box(settings, clock, functions, *of_server),
        embedders=embedders,
        code=code,
        clock=clock,
        worker=worker,
    )
    return Composed(core, models, embedders, functions, code)


def tool_box(
    settings: Settings,
    clock: Clock,
    functions: ToolFunctions,
    store: Store | None = None,
    search: MemorySearch | None = None,
) -> ToolBox:
    """Return what runs the tools of this process's agents; for a server with both of the last."""
    reach = PrivateNetwork(settings.private_network)
    return ToolBox(
        clock,
        functions,
        connector=guarded(private=reach is not PrivateNetwork.DENY),
        store=store,
        models_connector=guarded(private=reach is PrivateNetwork.ALLOW),
        search=search,
        browser=BrowserSettings(
            settings.browser_path,
            settings.browser_contexts,
            settings.browser_idle_seconds,
            settings.browser_sandbox,
            reach,
        ),
    )


async def put_agents(core: Core, workspace: Workspace, loaded: LoadedAgents) -> list[Agent]:
    """Create the file's agents and their schedules, or change them as the file has changed."""
    source = core.settings.agents
    named = {store.name: NewStore() for spec in loaded.specs for store in spec.memory_stores}
    await core.services.memory.ensure(workspace.id, named | loaded.memory_stores)
    agents = await core.services.agents.put(workspace.id, _digested(loaded), source)
    await core.services.schedules.put_of_file(agents)
    return agents


async def retire_agents(core: Core, workspace: Workspace, loaded: LoadedAgents) -> None:
    """Retire agents that the server's agents file no longer names; without a file, none."""
    settings = core.settings
    if not settings.agents:
        return
    retired = await core.services.agents.retire_unnamed(
        workspace.id, _digested(loaded), settings.agents, alone=not settings.on_postgres
    )
    await core.services.schedules.delete_of_file(workspace.id, retired)
    for name in retired:
        logger.warning(
            "agent.retired",
            agent=name,
            file=settings.agents,
            remedy=f"outlast agents restore {name}",
        )


def _digested(loaded: LoadedAgents) -> list[tuple[AgentSpec, str]]:
    return [(spec, spec_digest(spec)) for spec in loaded.specs]
