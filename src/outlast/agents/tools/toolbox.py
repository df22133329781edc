"""The Tools of a server: checks arguments, calls the kind's runner, checks the result."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from outlast.agents.browser.settings import DEFAULTS, BrowserSettings
from outlast.agents.port import ToolContext, WaitFor
from outlast.agents.tools import kinds
from outlast.agents.tools.arguments import Arguments
from outlast.agents.tools.kind import Resources, ToolKind, ToolLister, ToolRunner
from outlast.agents.tools.python import ToolFunctions
from outlast.agents.tools.signature import PythonFunction
from outlast.model.agent import AgentSpec, ToolSpec
from outlast.model.clock import Clock
from outlast.model.error import ToolFailed
from outlast.model.json_depth import DEEPEST, is_too_deep
from outlast.model.text import storable

if TYPE_CHECKING:
    import aiohttp

    from outlast.agents.memory_search import MemorySearch
    from outlast.store.store import Store


class ToolBox:
    """Runs tools of all kinds."""

    def __init__(
        self,
        clock: Clock,
        functions: ToolFunctions | Mapping[str, PythonFunction] | None = None,
        environ: Mapping[str, str] | None = None,
        connector: "Callable[[], aiohttp.BaseConnector] | None" = None,
        store: "Store | None" = None,
        models_connector: "Callable[[], aiohttp.BaseConnector] | None" = None,
        search: "MemorySearch | None" = None,
        browser: BrowserSettings | None = None,
    ) -> None:
        """`functions`: those given in Python, by reference; others are imported when called.

        Connectors decide which addresses may be dialled (see `agents.dial`): those that the
        operator wrote, and those that a model wrote; the default dials any. `environ` is this
        process's environment by default.
        """
        found = functions if isinstance(functions, ToolFunctions) else ToolFunctions(functions)
        environ = os.environ if environ is None else environ
        self._functions = found
        self._arguments = Arguments()
        resources = Resources(
            clock,
            environ,
            found,
            connector,
            models_connector,
            store,
            search,
            browser or DEFAULTS,
        )
        self._runners = kinds.runners(resources)

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Check the arguments against the tool's schema, run it within its timeout, return JSON.

        Raises ToolFailed (bad arguments, the tool's own error, a result too large) and ToolTimeout;
        error texts are for the model and hold no secret.
        """
        self._arguments.check(spec.parameters, arguments)
        kind, runner = self._runner(spec)
        result = await runner.call(spec, arguments, context)
        return _checked(result, kind.max_result_bytes)

    async def asks(self, spec: ToolSpec, arguments: dict[str, Any]) -> bool:
        """Return whether a person decides before this call, by the tool's function.

        If the function fails, a person decides.
        """
        return not isinstance(spec.approval, str) or self._functions.asks(spec.approval, arguments)

    def waits_for(self, spec: ToolSpec, arguments: dict[str, Any]) -> WaitFor | None:
        """Return what a call with these arguments waits for rather than run; None if it runs."""
        known = self._runners.get(spec.kind)
        return None if known is None else known[0].waits_for(spec, arguments)

    async def listed(self, spec: AgentSpec, context: ToolContext) -> AgentSpec:
        """Return the agent with the tools that its sources list now; itself if it has none.

        All sources list at the same time. Raises ToolsUnavailable, Misconfigured.
        """
        sources = spec.sources
        if not sources:
            return spec
        taken = frozenset(tool.name for tool in spec.tools)
        found = await asyncio.gather(*(self._listed(one, context, taken) for one in sources))
        return replace(spec, tools=(*spec.tools, *(tool for tools in found for tool in tools)))

    async def _listed(
        self, source: ToolSpec, context: ToolContext, taken: frozenset[str]
    ) -> tuple[ToolSpec, ...]:
        runner = self._runners[source.kind][1]
        assert isinstance(runner, ToolLister)
        return await runner.listed(source, context, taken)

    def give_up(self, source: ToolSpec, handle: dict[str, Any], context: ToolContext) -> None:
        """Have a source's server informed that a call's result is not wanted; wait for nothing."""
        runner = self._runners[source.kind][1]
        assert isinstance(runner, ToolLister)
        runner.give_up(source, handle, context)

    @property
    def connections(self) -> int:
        """Connections to MCP servers that are not closed."""
        listers = (one for _, one in self._runners.values() if isinstance(one, ToolLister))
        return sum(one.connections for one in listers)

    def check(self, spec: ToolSpec, arguments: dict[str, Any]) -> None:
        """Raise InvalidArguments if arguments do not fit the tool's schema, naming the first."""
        self._arguments.check_edited(spec.parameters, arguments)

    async def warm_up(self) -> None:
        """Import and open what first calls need; safe to call many times."""
        for _, runner in self._runners.values():
            await runner.warm_up()

    async def close(self) -> None:
        """Close the connections."""
        for _, runner in self._runners.values():
            await runner.close()

    def _runner(self, spec: ToolSpec) -> tuple[ToolKind, ToolRunner]:
        """Return a tool's runner. Raises ToolFailed if this version has none."""
        key = spec.kind
        if key is None:
            raise ToolFailed(f"The tool {spec.name} does not say how it runs.")
        if key not in self._runners:
            raise ToolFailed(f"This version of Outlast has no tools of the kind {key!r}.")
        return self._runners[key]


def _checked(result: Any, most: int | None) -> Any:
    """Return the result with lone surrogates replaced, which JSON cannot hold.

    A result that cannot be stored, or is too large, is the tool's error.
    """
    try:
        result, size = _measured(result)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise ToolFailed(f"The tool's result cannot be written as JSON: {error}") from error
    if most is not None and size > most:
        raise ToolFailed(f"The tool's result is {size} bytes as JSON, more than {most}.")
    if is_too_deep(result):
        raise ToolFailed(f"The tool's result is nested deeper than {DEEPEST} levels.")
    return result


def _measured(result: Any) -> tuple[Any, int]:
    try:
        return result, len(orjson.dumps(result))
    except orjson.JSONEncodeError:
        result = storable(result)
        return result, len(orjson.dumps(result))
