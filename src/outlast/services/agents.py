"""The agents of a workspace."""

import difflib
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from typing import Final

from outlast.agents.check import agent_problems, operators_only
from outlast.agents.problem import keys, place
from outlast.agents.tools.agent_kind import callee_of, unknown_callees
from outlast.model.agent import MADE_OVER_HTTP, Agent, AgentsFile, AgentSpec
from outlast.model.clock import Clock
from outlast.model.error import AgentNotFound, InvalidField, MissingField, MissingScope
from outlast.model.ids import AGENT
from outlast.model.task import client_agent, client_agent_id
from outlast.model.workspace import Principal, Scope
from outlast.services.fresh import Fresh
from outlast.store.agents import AgentStore
from outlast.store.known_agents import KnownAgents
from outlast.store.page import Page

_FRESH_SECONDS: Final = 1.0
"""How long a change made by another process may go unnoticed."""
_CACHED: Final = 1000
_LONGEST_NAME: Final = 64
_KNOWS_AGENTS: Final = frozenset({Scope.AGENTS_READ, Scope.AGENTS_EXECUTE})
"""Scopes whose holder learns of agents anyway."""


class Agents:
    """Finds agents, and stores those of the agents file."""

    def __init__(self, store: AgentStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.known = KnownAgents(store)
        self._found: Fresh[tuple[str, str], Agent] = Fresh(clock, _FRESH_SECONDS, _CACHED)

    async def put(
        self, workspace_id: str, specs: Iterable[tuple[AgentSpec, str]], source: str = "file"
    ) -> list[Agent]:
        """Create agents from (spec, digest), or their next versions if a digest is new.

        `source` is the agents file, as given by the operator, or MADE_OVER_HTTP. Raises
        InvalidField if a spec created over HTTP is wrong, or has settings allowed only in an
        operator's file.
        """
        specs = list(specs)
        if source == MADE_OVER_HTTP:
            for spec, _ in specs:
                _require_callers(spec)
                await self._require_callees(workspace_id, spec, [one.name for one, _ in specs])
        try:
            return [
                await self._store.put(
                    workspace_id, self._clock.new_id(AGENT), spec, digest, self._clock.now(), source
                )
                for spec, digest in specs
            ]
        finally:
            self._found.forget()

    async def retire_unnamed(
        self,
        workspace_id: str,
        specs: Iterable[tuple[AgentSpec, str]],
        source: str,
        *,
        alone: bool,
    ) -> list[str]:
        """Retire the agents that the file `source` no longer names; return their names.

        With `alone`, no other server uses the database and the file decides about every agent.
        Otherwise only a content that the file has not had before retires: a server of an older
        deployment that starts late retires nothing.
        """
        named = sorted((spec.name, digest) for spec, digest in specs)
        file = AgentsFile(
            workspace_id,
            source,
            sha256(repr(named).encode()).hexdigest(),
            frozenset(name for name, _ in named),
            self._clock.now(),
            alone=alone,
        )
        try:
            return await self._store.retire_unnamed(file)
        finally:
            self._found.forget()

    def forget(self) -> None:
        """Read agents again that were changed elsewhere."""
        self._found.forget()

    async def _require_callees(self, workspace_id: str, spec: AgentSpec, new: list[str]) -> None:
        """Raise InvalidField if a tool calls an agent that neither exists nor is new."""
        callees = [callee.name for tool in spec.tools if (callee := callee_of(tool)) is not None]
        known = list(new)
        for name in callees:
            with suppress(AgentNotFound):
                known.append((await self._store.get(workspace_id, name)).spec.name)
        for problem in unknown_callees(spec, known):
            raise InvalidField(problem.text, param=keys(problem.path))

    async def get(self, principal: Principal, ref: str) -> Agent:
        """Return the newest version, by id or by name. Raises AgentNotFound, MissingScope."""
        principal.require(Scope.AGENTS_READ)
        return await self._known(principal.workspace_id, ref)

    async def page(self, principal: Principal, page: Page) -> tuple[list[Agent], bool]:
        """Return a page, newest first, and whether there are more in the direction of the walk."""
        principal.require(Scope.AGENTS_READ)
        found = await self._store.page(principal.workspace_id, page)
        return page.cut(found)

    async def resolve(self, principal: Principal, ref: str) -> str:
        """Return the id of an agent that a filter names. Raises AgentNotFound."""
        return (await self._known(principal.workspace_id, ref)).id

    async def of_new_key(self, principal: Principal, ref: str) -> str:
        """Return the id of the agent that a new key names, by a key that may know of agents.

        Raises AgentNotFound, also for a retired agent, and MissingScope.
        """
        if principal.scopes.isdisjoint(_KNOWS_AGENTS):
            raise MissingScope(
                f"This API key lacks the scope {Scope.AGENTS_READ.value} or "
                f"{Scope.AGENTS_EXECUTE.value}, one of which naming an agent needs.",
                param="agentId",
            )
        return (await self.chosen(principal, ref)).id

    async def chosen(self, principal: Principal, ref: str | None) -> Agent:
        """Return the agent that a request names, else the key's, else the only one in use.

        Raises AgentNotFound, also for a retired agent, and MissingField.
        """
        ref = principal.agent_id if ref is None else ref
        if ref is not None:
            return _in_use(await self.newest(principal.workspace_id, ref))
        found = await self._store.page(principal.workspace_id, Page(1))
        if not found:
            raise AgentNotFound("The workspace has no agent. Start the server with --agents FILE.")
        if len(found) > 1:
            raise MissingField(
                "Name an agent: the key has no default agent, and the workspace has several. A key "
                "with a default agent names it for every request: outlast keys create --agent NAME",
                param="agent",
            )
        return found[0]

    async def _known(self, workspace_id: str, ref: str) -> Agent:
        """Return an agent that executions refer to, or the one of client-driven executions."""
        if ref == client_agent_id(workspace_id):
            return client_agent(workspace_id)
        return await self.newest(workspace_id, ref)

    async def version(self, workspace_id: str, agent_id: str, version: int) -> Agent:
        """Return the version that an execution uses. Raises AgentNotFound."""
        return await self._store.version(workspace_id, agent_id, version)

    async def newest(self, workspace_id: str, ref: str) -> Agent:
        """Return the newest version, by id or by name, as it was at most a second ago.

        Changes made by this process are seen at once. Raises AgentNotFound.
        """
        return await self._found.get((workspace_id, ref), lambda: self._read(workspace_id, ref))

    async def _read(self, workspace_id: str, ref: str) -> Agent:
        try:
            return await self._store.get(workspace_id, ref)
        except AgentNotFound as error:
            raise await self._with_near(workspace_id, ref, error) from error

    async def _with_near(self, workspace_id: str, ref: str, error: AgentNotFound) -> AgentNotFound:
        """Return the error, with a suggestion if a similar name exists."""
        known = [agent.spec.name for agent in await self._store.page(workspace_id, Page(100))]
        near = difflib.get_close_matches(ref[:_LONGEST_NAME], known, n=1, cutoff=0.7)
        if not near:
            return error
        return AgentNotFound(f"{error.message.removesuffix('.')}; did you mean {near[0]}?")


def _require_callers(spec: AgentSpec) -> None:
    """Raise InvalidField if a caller of the API may not create this agent.

    Tools run with the server's environment, so references to it are refused here, before they are
    stored: no version of an agent created by a caller names a variable.
    """
    problems = [*agent_problems(spec), *operators_only(spec)]
    if problems:
        names = [tool.name for tool in spec.tools]
        lines = (f"{place(names, one.path)}: {one.text}" for one in problems)
        raise InvalidField("\n".join(lines), param=keys(problems[0].path))


def _in_use(agent: Agent) -> Agent:
    if agent.retired_at is None:
        return agent
    name = agent.spec.name
    raise AgentNotFound(
        f"The agent {name!r} is retired: no agents file names it any more. Name it in the agents "
        f"file again, or put it back into use: outlast agents restore {name}"
    )
