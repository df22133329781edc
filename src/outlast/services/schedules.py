"""Schedules: create, change, pause, run now; and those of agents files."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from outlast.model.agent import Agent
from outlast.model.clock import Clock
from outlast.model.error import (
    AgentNotFound,
    AgentPaused,
    Conflict,
    ConversationNotFound,
    InvalidField,
    MemoryArchived,
    MemoryStoreNotFound,
    OutlastError,
    QuotaExceeded,
)
from outlast.model.ids import CONVERSATION, SCHEDULE, parse
from outlast.model.schedule import (
    Definition,
    Overlap,
    PausedReason,
    RunError,
    Schedule,
    ScheduleRun,
    Trigger,
    definition_from,
)
from outlast.model.workspace import Principal, Scope
from outlast.services.agents import Agents
from outlast.services.memory import Memory
from outlast.services.metadata import indexed_values
from outlast.settings import Settings
from outlast.store.idempotency import Idempotency
from outlast.store.page import Page
from outlast.store.schedules.fire import Fired, Firing, Indexed
from outlast.store.schedules.store import FireNow, of_a_file, resumed
from outlast.store.store import Store

__all__ = ["Fired", "NewSchedule", "Schedules", "new_runs"]

_REFUSALS: Final[dict[str, type[OutlastError]]] = {
    "agent_not_found": AgentNotFound,
    "agent_paused": AgentPaused,
    "conversation_not_found": ConversationNotFound,
    "memory_store_not_found": MemoryStoreNotFound,
    "memory_store_archived": MemoryArchived,
    "quota_exceeded": QuotaExceeded,
}
_MADE: Final = frozenset({PausedReason.ENDED, PausedReason.UNREADABLE})
"""Reasons that a change of the definition removes."""


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A request to create a schedule."""

    agent: str | None
    """The agent's id or name; None: the key's agent, or the only one."""
    definition: Definition
    name: str | None = None
    conversation_id: str | None = None
    idempotency: Idempotency | None = None


def new_runs(settings: Settings) -> tuple[Indexed, int]:
    """Return what executions of schedules share with those of requests; see Firing."""
    return partial(indexed_values, settings.metadata_keys), settings.max_queued_turns + 1


class Schedules:
    """The schedules of a workspace."""

    def __init__(
        self, store: Store, agents: Agents, clock: Clock, indexed: Indexed, max_live: int
    ) -> None:
        """`indexed`, `max_live`: see Firing."""
        self._store = store
        self._agents = agents
        self._clock = clock
        self._memory = Memory(store.memories, clock)
        self._firing = partial(Firing, new_id=clock.new_id, indexed=indexed, max_live=max_live)

    async def create(self, principal: Principal, request: NewSchedule) -> tuple[Schedule, bool]:
        """Create a schedule; return it, and whether an earlier request has created it.

        Raises AgentNotFound, ConversationNotFound, InvalidField, MissingField, MissingScope,
        IdempotencyMismatch.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        agent = await self._agents.chosen(principal, request.agent)
        conversation_id = await self._conversation(principal, request.conversation_id)
        await self._memory.of_execution(principal, request.definition.memory_stores or ())
        now = self._clock.now()
        schedule = Schedule(
            self._clock.new_id(SCHEDULE),
            principal.workspace_id,
            agent.id,
            request.definition.checked(),
            now,
            now,
            request.name,
            conversation_id=conversation_id,
            key_id=principal.key_id,
        )
        first = _begun(schedule, now, paused=agent.paused)
        return await self._store.schedules.create(first, request.idempotency)

    async def get(self, principal: Principal, schedule_id: str) -> Schedule:
        """Return one schedule. Raises ScheduleNotFound, MissingScope."""
        principal.require(Scope.AGENTS_READ)
        return await self._store.schedules.get(principal.workspace_id, schedule_id)

    async def page(
        self, principal: Principal, agent_id: str | None, page: Page
    ) -> tuple[list[Schedule], bool]:
        """Return a page, newest first, and whether there are more in the direction of the walk."""
        principal.require(Scope.AGENTS_READ)
        found = await self._store.schedules.page(principal.workspace_id, agent_id, page)
        return page.cut(found)

    async def of_agents(
        self, principal: Principal, agents: list[Agent]
    ) -> dict[str, list[Schedule]]:
        """Return the first schedules of each agent, by its id."""
        principal.require(Scope.AGENTS_READ)
        ids = tuple(agent.id for agent in agents)
        return await self._store.schedules.of_agents(principal.workspace_id, ids)

    async def of_agent(self, agent: Agent) -> list[Schedule]:
        """Return the first schedules of an agent that the caller may use."""
        return (await self._store.schedules.of_agents(agent.workspace_id, (agent.id,)))[agent.id]

    async def runs(
        self, principal: Principal, schedule_id: str, page: Page
    ) -> tuple[list[ScheduleRun], bool]:
        """Return a page of its runs, newest first. Raises ScheduleNotFound, MissingScope."""
        schedule = await self.get(principal, schedule_id)
        return page.cut(await self._store.schedules.runs(schedule.id, page))

    async def change(
        self, principal: Principal, schedule_id: str, fields: dict[str, Any]
    ) -> Schedule:
        """Set fields of the definition, `name` or `conversation_id`; a new time counts from now.

        Raises ScheduleNotFound, Conflict if an agents file defines it, ConversationNotFound,
        InvalidField, MissingField, MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        if fields.get("conversation_id") is not None:
            given = fields["conversation_id"]
            fields["conversation_id"] = await self._conversation(principal, given)
        await self._memory.of_execution(principal, fields.get("memory_stores") or ())
        now = self._clock.now()
        return await self._edit(principal, schedule_id, lambda known: _edited(known, fields, now))

    async def pause(self, principal: Principal, schedule_id: str) -> Schedule:
        """Schedule no more runs; a paused one stays as it is. Raises ScheduleNotFound."""
        now = self._clock.now()

        def paused(known: Schedule) -> Schedule:
            if not known.is_active and known.paused_reason is not PausedReason.AGENT_PAUSED:
                return known
            return replace(known.paused(PausedReason.REQUESTED), updated_at=now)

        return await self._edit(principal, schedule_id, paused)

    async def resume(self, principal: Principal, schedule_id: str) -> Schedule:
        """Schedule runs from now on; those of the pause are not made up for.

        Raises Conflict if no run is left, AgentPaused, ScheduleNotFound, InvalidField if its zone
        is not known, MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        known = await self._store.schedules.get(principal.workspace_id, schedule_id)
        if (await self._store.agents.get(principal.workspace_id, known.agent_id)).paused:
            raise AgentPaused
        now = self._clock.now()

        def active(known: Schedule) -> Schedule:
            if known.is_active:
                return known
            after = resumed(known, now)
            if not after.is_active:
                raise Conflict("No run of this schedule is left; change its endAt.")
            return after

        return await self._edit(principal, schedule_id, active)

    async def delete(self, principal: Principal, schedule_id: str) -> None:
        """Delete a schedule with its runs; their executions stay.

        Raises ScheduleNotFound, Conflict if an agents file defines it, MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        await self._store.schedules.delete(principal.workspace_id, schedule_id)

    async def fire(
        self,
        principal: Principal,
        schedule_id: str,
        overlap: Overlap | None,
        idempotency: Idempotency | None,
    ) -> Fired:
        """Run it now, paused or not; its next time stays.

        Raises Conflict if an earlier run is live and `overlap` says skip, or one waits already,
        AgentNotFound, AgentPaused, ConversationNotFound, ScheduleNotFound, InvalidField,
        MissingScope, IdempotencyMismatch.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        if overlap is Overlap.ALLOW:
            known = await self._store.schedules.get(principal.workspace_id, schedule_id)
            _require_apart(overlap, known.conversation_id)
        request = FireNow(principal.workspace_id, schedule_id, overlap, idempotency)
        fired = await self._store.schedules.fire_now(self._firing(self._clock.now()), request)
        if fired.run is not None and fired.run.error is not None:
            raise _refusal(fired.run.error)
        return fired

    async def pause_agent(self, principal: Principal, agent_ref: str, *, paused: bool) -> Agent:
        """Pause or resume an agent with its schedules. Raises AgentNotFound, MissingScope."""
        principal.require(Scope.AGENTS_EXECUTE)
        agent = await self._agents.chosen(principal, agent_ref)
        if agent.paused != paused:
            now = self._clock.now()
            await self._store.schedules.pause_agent(
                agent.workspace_id, agent.id, now, paused=paused
            )
            self._agents.forget()
        return await self._agents.chosen(principal, agent.id)

    async def put_of_file(self, agents: list[Agent]) -> None:
        """Make the schedules of agents, which a file has just named, those of the file."""
        now = self._clock.now()
        for agent in agents:
            await self._put_of_file(agent, now)

    async def delete_of_file(self, workspace_id: str, agent_names: list[str]) -> None:
        """Delete the schedules of agents that the file no longer names."""
        for name in agent_names:
            agent = await self._store.agents.get(workspace_id, name)
            await self._store.schedules.put_of_file(agent.id, None, lambda known: known)

    async def _put_of_file(self, agent: Agent, now: int) -> None:
        wanted = None
        if agent.spec.schedule is not None:
            fresh = Schedule(
                self._clock.new_id(SCHEDULE),
                agent.workspace_id,
                agent.id,
                definition_from(agent.spec.schedule),
                now,
                now,
                agent.spec.name,
                agent.source,
            )
            wanted = _scheduled(fresh, now, paused=agent.paused)
        definition = None if wanted is None else wanted.definition

        def again(known: Schedule) -> Schedule:
            assert definition is not None
            after = replace(known, source=agent.source, definition=definition, updated_at=now)
            return _rescheduled(after, now)

        await self._store.schedules.put_of_file(agent.id, wanted, again)

    async def _conversation(self, principal: Principal, given: str | None) -> str | None:
        if given is None:
            return None
        conversation_id = parse(CONVERSATION, given)
        try:
            await self._store.conversations.get(principal.workspace_id, conversation_id)
        except ConversationNotFound as error:
            raise ConversationNotFound(param="conversationId") from error
        return conversation_id

    async def _edit(
        self, principal: Principal, schedule_id: str, edit: Callable[[Schedule], Schedule]
    ) -> Schedule:
        principal.require(Scope.AGENTS_EXECUTE)
        return await self._store.schedules.change(principal.workspace_id, schedule_id, edit)


def _begun(schedule: Schedule, now: int, *, paused: bool) -> Schedule:
    """Return a new schedule with its first run. Raises InvalidField if it has none."""
    _require_apart(schedule.definition.overlap, schedule.conversation_id)
    after = schedule.scheduled(now)
    if not after.is_active:
        raise InvalidField("endAt: no run is left before it.", param="endAt")
    return after.paused(PausedReason.AGENT_PAUSED) if paused else after


def _scheduled(schedule: Schedule, now: int, *, paused: bool) -> Schedule:
    """Return the same of an agents file, whose end may have passed."""
    after = schedule.scheduled(now)
    return after.paused(PausedReason.AGENT_PAUSED) if paused else after


def _edited(known: Schedule, fields: dict[str, Any], now: int) -> Schedule:
    if known.of_file:
        raise of_a_file(known)
    own = {name: value for name, value in fields.items() if name in ("name", "conversation_id")}
    rest = {name: value for name, value in fields.items() if name not in own}
    definition = replace(known.definition, **rest).checked()
    after = replace(known, **own, definition=definition, updated_at=now)
    _require_apart(definition.overlap, after.conversation_id)
    after = _rescheduled(after, now)
    if after.paused_reason is PausedReason.ENDED:
        raise InvalidField("endAt: no run is left before it.", param="endAt")
    return after


def _rescheduled(schedule: Schedule, now: int) -> Schedule:
    """Return it with its next run from now on; a paused one stays paused."""
    if not schedule.is_active and schedule.paused_reason not in _MADE:
        return schedule
    waiting = schedule.waiting if schedule.waiting is Trigger.MANUAL else None
    after = replace(schedule, paused_reason=None, waiting=waiting).scheduled(now)
    return after if waiting is None else replace(after, next_at=schedule.next_at)


def _require_apart(overlap: Overlap, conversation_id: str | None) -> None:
    """Raise InvalidField for runs at the same time in one conversation."""
    if overlap is Overlap.ALLOW and conversation_id is not None:
        raise InvalidField(
            "overlap: runs of one conversation are its turns, one after the other; use queue.",
            param="overlap",
        )


def _refusal(error: RunError) -> OutlastError:
    if error.code == "skipped":
        return Conflict("A run of this schedule is live; send another `overlap` to run it now.")
    return _REFUSALS.get(error.code, Conflict)(error.message)
