"""Calls that tools' servers work on by themselves, once their results are not wanted.

    cancelled, failed, rolled back, deleted ──► handles of the log ──► their servers are informed

Nothing waits for the servers. A segment gives up the calls of an execution that it ends; what ends
or goes back where no segment runs, as when it waits for input, is found at its commit.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from outlast.agents.port import Tools
from outlast.duty import Failures
from outlast.engine.segment.call_contexts import CallContexts
from outlast.model.agent import Agent, AgentSpec
from outlast.model.error import AgentNotFound, ToolFailed
from outlast.model.event import ExecutionResumed
from outlast.model.execution import Execution, Status
from outlast.store.executions.deferred import Deferred
from outlast.store.executions.store import ExecutionStore
from outlast.store.known_agents import KnownAgents
from outlast.store.listeners import Committed

_CUT_OFF: Final = (Status.CANCELLED, Status.FAILED)
_SECONDS: Final = 2.0
"""How long a deletion waits for what it would delete to be read."""


@dataclass(frozen=True, slots=True)
class OpenCalls:
    """Calls of one execution that servers work on."""

    tools: Tools
    contexts: CallContexts
    execution: Execution
    spec: AgentSpec | None = None
    calls: Mapping[str, Deferred] = field(default_factory=dict)

    def give_up(self) -> None:
        """Have their servers informed; wait for nothing."""
        for tool_call_id, call in self.calls.items():
            source = None if self.spec is None else self.spec.source_of(call.name)
            if source is not None:
                with suppress(ToolFailed):
                    context = self.contexts.of(self.execution, tool_call_id)
                    self.tools.give_up(source, call.handle, context)


@dataclass(frozen=True, slots=True)
class UnwantedCalls:
    """Has tools' servers informed that results are not wanted."""

    store: ExecutionStore
    tools: Tools
    agents: KnownAgents
    contexts: CallContexts
    failures: Failures
    _reading: set[asyncio.Task[None]] = field(default_factory=set)

    async def open_calls(self, execution: Execution, agent: Agent | None) -> OpenCalls:
        """Return the calls of an execution that is about to end, to be given up behind its end.

        Raises Overloaded.
        """
        if agent is None or not agent.spec.sources:
            return OpenCalls(self.tools, self.contexts, execution)
        found = await self.store.handles(execution.workspace_id, execution.id)
        return OpenCalls(self.tools, self.contexts, execution, agent.spec, found.open)

    def committed(self, commit: Committed, *, runs: bool) -> None:
        """Give up calls after a commit; `runs`: a segment makes it, which gives up its own."""
        execution = commit.execution
        if execution is None or runs:
            return
        resumed = any(isinstance(entry.event, ExecutionResumed) for entry in commit.entries)
        if not resumed and execution.status not in _CUT_OFF:
            return
        agent = self.agents.seen(execution)
        if agent is None or agent.spec.sources:
            task = self.failures.spawn(self._read(execution), "give_up_calls")
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def found(self) -> None:
        """Wait a while until the calls of what has been committed by now are known."""
        if self._reading:
            await asyncio.wait(set(self._reading), timeout=_SECONDS)

    async def _read(self, execution: Execution) -> None:
        with suppress(AgentNotFound):
            spec = (await self.agents.of(execution)).spec
            if spec.sources:
                found = await self.store.handles(execution.workspace_id, execution.id)
                OpenCalls(self.tools, self.contexts, execution, spec, found.unwanted).give_up()
