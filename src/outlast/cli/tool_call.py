"""What a model is offered of an agent's tools, and one call without an execution."""

from dataclasses import replace
from typing import Any

from outlast import logs
from outlast.agents.loader import LoadedAgents
from outlast.agents.models.schemas import inlined
from outlast.agents.port import ToolContext
from outlast.agents.readiness import tools_not_ready
from outlast.agents.tools.memory_kind import KEY as MEMORY
from outlast.agents.tools.memory_kind import HeldStore, with_memory_tools
from outlast.agents.tools.python import ToolFunctions
from outlast.cli.composition import environment_of, read_agents, tool_box
from outlast.model import ids
from outlast.model.agent import AgentSpec, ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.error import AgentNotFound, InvalidRequest, Misconfigured
from outlast.model.image import Image
from outlast.model.memory import Access, EmbeddingState, MemoryStore, NewStore
from outlast.settings import Settings


async def listed_tools(settings: Settings, name: str) -> AgentSpec:
    """Return an agent with the tools that its MCP servers list now, and of its memory stores.

    Raises Misconfigured, AgentNotFound, ToolsUnavailable.
    """
    logs.configure("error", "auto")  # what it would log is shown
    spec = _named(_loaded(settings), name)
    if not spec.sources:
        return spec
    _require_ready(settings, replace(spec, tools=spec.sources))
    box = tool_box(settings, SystemClock(), ToolFunctions())
    try:
        return await box.listed(spec, _context())
    finally:
        await box.close()


def seen(tool: ToolSpec) -> dict[str, Any]:
    """Return a tool as its model sees it, and what the server knows of it besides."""
    approval = "always" if tool.approval is True else tool.approval or "never"
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": inlined(tool.parameters),
        "kind": tool.kind,
        "effect": tool.effect.value,
        "approval": approval,
        "timeout": tool.timeout,
    }


def arguments_of(text: str) -> dict[str, Any]:
    """Return arguments given as JSON. Raises InvalidRequest."""
    import orjson

    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The arguments are not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidRequest('The arguments are a JSON object, as \'{"orderId": "A-1"}\'.')
    return found


async def call(
    settings: Settings, agent: str, tool: str, arguments: dict[str, Any], *, yes: bool
) -> tuple[Any, tuple[Image, ...], float]:
    """Return the result of a call, its images, and its time in seconds.

    Raises ToolFailed; Misconfigured if the environment lacks something; InvalidRequest for a call
    that needs `yes`, or an execution.
    """
    logs.configure("error", "auto")
    loaded = _loaded(settings)
    spec = _named(loaded, agent)
    known = spec.source_of(tool) or spec.tool(tool)
    if known is not None:
        _require_ready(settings, replace(spec, tools=(known,)))
    clock = SystemClock()
    box = tool_box(settings, clock, ToolFunctions(loaded.functions))
    try:
        if known is not None and known.is_source:
            spec = await box.listed(replace(spec, tools=(known,)), _context())
        found = spec.tool(tool)
        if found is None:
            names = ", ".join(one.name for one in spec.offered) or "none"
            raise InvalidRequest(f"The agent {agent} has no tool {tool!r}; its tools: {names}.")
        if found.kind == MEMORY or box.waits_for(found, arguments) is not None:
            raise InvalidRequest(f"A call of {tool} needs an execution: outlast run {agent} INPUT")
        if found.approval and not yes and await box.asks(found, arguments):
            raise InvalidRequest(f"A person approves this call of {tool}: add --yes.")
        began, context = clock.monotonic(), _context()
        result = await box.call(found, arguments, context)
        images = tuple(one.image for one in context.images.kept)
        return result, images, clock.monotonic() - began
    finally:
        await box.close()


def _require_ready(settings: Settings, spec: AgentSpec) -> None:
    """Raise Misconfigured if the environment lacks something for the agent's tools."""
    for lack in tools_not_ready(spec, environment_of(settings)):
        raise Misconfigured(str(lack))


def _context() -> ToolContext:
    """Return the context of a call without an execution."""
    clock = SystemClock()
    return ToolContext("", clock.new_id(ids.EXECUTION), clock.new_id(ids.TOOL_CALL))


def _loaded(settings: Settings) -> LoadedAgents:
    loaded = read_agents(settings)
    if not loaded.specs:
        raise Misconfigured(
            "There are no agents: name their file with --agents FILE, or write one: outlast init"
        )
    return loaded


def _named(loaded: LoadedAgents, name: str) -> AgentSpec:
    found = next((spec for spec in loaded.specs if spec.name == name), None)
    if found is None:
        known = ", ".join(spec.name for spec in loaded.specs)
        raise AgentNotFound(f"There is no agent {name!r} in the agents file; it has: {known}.")
    held = [
        HeldStore(_described(store.name, loaded), Access(store.access))
        for store in found.memory_stores
    ]
    return with_memory_tools(found, held)


def _described(name: str, loaded: LoadedAgents) -> MemoryStore:
    """Return a memory store as the agents file describes it."""
    given = loaded.memory_stores.get(name, NewStore())
    embedding = None if given.embedding is None else EmbeddingState(given.embedding)
    return MemoryStore("", "", name, 0, 0, given.description, embedding=embedding)
