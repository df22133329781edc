"""Creates the child executions of calls of other agents."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from outlast.agents.tools.agent_kind import Callee, callee_of
from outlast.engine.segment.segment import Segment
from outlast.model.agent import Agent, AgentSpec
from outlast.model.clock import Clock
from outlast.model.error import AgentNotFound, Misconfigured
from outlast.model.event import ChildStarted
from outlast.model.execution import Execution, RequestContext, Status
from outlast.model.ids import CONVERSATION, EXECUTION
from outlast.model.memory import MemoryAccess
from outlast.model.text import storable
from outlast.model.wait import Wait
from outlast.store.agents import AgentStore
from outlast.store.executions.children import LIVE_CHILDREN
from outlast.store.executions.values import NewChild
from outlast.store.memory.store import Memories

MAX_DEPTH: Final = 5
"""Maximum depth of a child; a root has 0."""
MAX_CHILDREN: Final = 100
"""Maximum children that one execution creates."""


class Refused(Exception):
    """A call for which there is no child; the text is for the model."""


@dataclass(frozen=True, slots=True)
class Children:
    """Creates children as they are to be inserted with the waits for them."""

    newest: Callable[[str, str], Awaitable[Agent]]
    """Returns the newest version of a workspace's agent, by its name. Raises AgentNotFound."""
    agents: AgentStore
    memories: Memories
    clock: Clock

    async def of(
        self, segment: Segment, spec: AgentSpec, waits: list[Wait]
    ) -> tuple[dict[str, Wait], tuple[NewChild, ...]]:
        """Return the waits by call, and a child for each that waits for one.

        Where there can be none, the wait is decided: the model reads why.
        """
        found: dict[str, Wait] = {}
        children: list[NewChild] = []
        known: dict[tuple[str, int | None], Agent] = {}
        for wait in waits:
            found[wait.tool_call_id] = wait
            tool = spec.tool(wait.name)
            callee = None if tool is None or wait.is_approval else callee_of(tool)
            if callee is None:
                continue
            try:
                agent = await self._agent(segment.execution, callee, known)
                children.append(await self._child(segment, wait, callee, agent, len(children)))
            except Refused as refused:
                found[wait.tool_call_id] = _refused(wait, str(refused))
        return found, tuple(children)

    async def _child(
        self, segment: Segment, wait: Wait, callee: Callee, agent: Agent, siblings: int
    ) -> NewChild:
        """Return the child of a call; `siblings` are created with it. Raises Refused."""
        parent = segment.execution
        if parent.depth >= MAX_DEPTH:
            raise Refused(f"Agents call each other {MAX_DEPTH} levels deep at most.")
        if parent.children + siblings >= MAX_CHILDREN:
            raise Refused(f"One execution calls {MAX_CHILDREN} agents at most.")
        child = Execution(
            id=self.clock.new_id(EXECUTION),
            workspace_id=parent.workspace_id,
            agent_id=agent.id,
            agent_version=agent.version,
            conversation_id=self.clock.new_id(CONVERSATION),
            turn=1,
            status=Status.QUEUED,
            segment=0,
            input=storable(str(wait.arguments.get("input", ""))),
            created_at=wait.begun_at or wait.requested_at,
            updated_at=wait.begun_at or wait.requested_at,
            key_id=parent.key_id,
            parent_id=parent.id,
            metadata=parent.metadata,
            session=parent.session,
            budget=callee.budget,
            origin=RequestContext(headers=parent.origin.headers),
            user=parent.user,
            waiting=siblings >= LIVE_CHILDREN,
            root_id=parent.tree,
            depth=parent.depth + 1,
            tool_call_id=wait.tool_call_id,
            memory_stores=parent.memory_stores or await self._memory_stores(parent, agent),
        )
        return NewChild(child, agent.spec.name)

    async def _memory_stores(self, parent: Execution, agent: Agent) -> tuple[MemoryAccess, ...]:
        """Return the stores that an agent has by default."""
        named = agent.spec.memory_stores
        return await self.memories.of_names(parent.workspace_id, named) if named else ()

    async def _agent(
        self, parent: Execution, callee: Callee, known: dict[tuple[str, int | None], Agent]
    ) -> Agent:
        """Return the agent to run; `known`: those of the same answer's calls. Raises Refused."""
        name = callee.name
        if (found := known.get((name, callee.version))) is not None:
            return found
        try:
            agent = await self.newest(parent.workspace_id, name)
            if callee.version is not None:
                pinned = await self.agents.version(parent.workspace_id, agent.id, callee.version)
                agent = replace(pinned, paused=agent.paused, retired_at=agent.retired_at)
        except (AgentNotFound, Misconfigured) as error:
            raise Refused(error.message) from error
        if agent.retired_at is not None:
            raise Refused(f"The agent {name!r} is retired.")
        if agent.paused:
            raise Refused(f"The agent {name!r} is paused.")
        known[name, callee.version] = agent
        return agent


def children_started(
    children: Iterable[NewChild], waits: Mapping[str, Wait]
) -> Iterator[ChildStarted]:
    """Yield the event of each child, by the wait of its call."""
    for new in children:
        child = new.execution
        wait = waits[child.tool_call_id or ""]
        yield ChildStarted(wait.step, wait.tool_call_id, child.id, new.agent)


def _refused(wait: Wait, text: str) -> Wait:
    """Return the wait, decided with an error."""
    return replace(wait, decided_at=wait.requested_at, approved=False, result=text, has_result=True)
