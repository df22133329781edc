"""Schedules: a method for each transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from outlast.model.error import Conflict, ScheduleNotFound
from outlast.model.schedule import Overlap, PausedReason, Schedule, ScheduleRun, Trigger
from outlast.store.driver import Driver, Part, Query, Transaction, TransactionResult
from outlast.store.idempotency import Idempotency, first_request, remember
from outlast.store.page import Page
from outlast.store.schedules.fire import (
    Effects,
    Fired,
    Firing,
    by_hand,
    fire_due,
    ready_of,
)
from outlast.store.schedules.rows import run_from, schedule_columns, schedule_from
from outlast.store.schedules.statements import (
    DELETE_SCHEDULE,
    DELETE_SCHEDULE_RUNS,
    DUE_SCHEDULES,
    FORGET_SCHEDULE_RUNS,
    INSERT_SCHEDULE,
    LOCK_SCHEDULE,
    LOCK_SCHEDULES_OF_AGENT,
    PAUSE_AGENT,
    RUN,
    SCHEDULE,
    SCHEDULE_OF_FILE,
    SCHEDULES_OF_AGENT,
    SCHEDULES_OF_AGENTS,
    changed,
    list_runs,
    list_schedules,
)

OF_AN_AGENT: Final = 20
"""Maximum schedules that are shown with their agent."""
_RUNS: Final = 1000
"""Runs that one transaction deletes."""
_TOGETHER: Final = 500
"""Schedules of a page of agents that are read by one statement."""


@dataclass(frozen=True, slots=True)
class FireNow:
    """A request to run a schedule now."""

    workspace_id: str
    schedule_id: str
    overlap: Overlap | None = None
    """None: the schedule's."""
    idempotency: Idempotency | None = None


def _locked(workspace_id: str, schedule_id: str) -> Part[Schedule]:
    rows = yield Query(LOCK_SCHEDULE, {"id": schedule_id, "workspace": workspace_id})
    if not rows:
        raise ScheduleNotFound
    return schedule_from(rows[0])


def _fire_now(firing: Firing, request: FireNow) -> Transaction[Fired]:
    """Run a schedule by hand, unless the same request has run it."""
    promise = request.idempotency
    first = None if promise is None else (yield from first_request(promise, firing.now))
    schedule = yield from _locked(request.workspace_id, request.schedule_id)
    if first is not None:
        rows = yield Query(RUN, {"id": first.made, "workspace": request.workspace_id})
        run = run_from(rows[0]) if rows else None
        return TransactionResult(Fired(schedule, run, replayed=True))
    (ready,) = yield from ready_of([schedule])
    overlap = request.overlap or schedule.definition.overlap
    effects = Effects()
    if ready.live and overlap is Overlap.QUEUE:
        if schedule.waiting is not None:
            raise Conflict("A run of this schedule waits already.")
        after, run = replace(schedule, waiting=Trigger.MANUAL, next_at=firing.now), None
    else:
        after, run = yield from by_hand(firing, schedule, ready, overlap, effects)
        if schedule.waiting is not None:  # it goes on waiting
            after = replace(after, waiting=schedule.waiting, next_at=schedule.next_at)
    yield changed(after)
    if promise is not None and (run is None or run.error is None):
        yield remember(promise, after.id if run is None else run.id, firing.now)
    return effects.result(Fired(after, run))


def _create(schedule: Schedule, promise: Idempotency | None) -> Transaction[tuple[Schedule, bool]]:
    """Insert a schedule, or find the one of the first request."""
    if promise is not None:
        first = yield from first_request(promise, schedule.created_at)
        if first is not None:
            known = {"id": first.made, "workspace": schedule.workspace_id}
            rows = yield Query(SCHEDULE, known)
            if not rows:
                raise ScheduleNotFound
            return TransactionResult((schedule_from(rows[0]), True))
    yield Query(INSERT_SCHEDULE, schedule_columns(schedule))
    if promise is not None:
        yield remember(promise, schedule.id, schedule.created_at)
    return TransactionResult((schedule, False))


def _get(workspace_id: str, schedule_id: str) -> Transaction[Schedule]:
    """Read one."""
    rows = yield Query(SCHEDULE, {"id": schedule_id, "workspace": workspace_id})
    if not rows:
        raise ScheduleNotFound
    return TransactionResult(schedule_from(rows[0]))


def _change(
    workspace_id: str, schedule_id: str, edit: Callable[[Schedule], Schedule]
) -> Transaction[Schedule]:
    """Change one whose row is locked meanwhile."""
    schedule = yield from _locked(workspace_id, schedule_id)
    after = edit(schedule)
    if after != schedule:
        yield changed(after)
    return TransactionResult(after)


def _delete(workspace_id: str, schedule_id: str) -> Transaction[None]:
    """Delete one with its runs; their executions stay."""
    schedule = yield from _locked(workspace_id, schedule_id)
    if schedule.of_file:
        raise of_a_file(schedule)
    yield from _gone(schedule)
    return TransactionResult(None)


def _gone(schedule: Schedule) -> Part[None]:
    """Delete the row and some of its runs: nothing shows the others, which are deleted by age."""
    yield Query(DELETE_SCHEDULE_RUNS, {"id": schedule.id, "limit": _RUNS})
    yield Query(DELETE_SCHEDULE, {"id": schedule.id, "workspace": schedule.workspace_id})


def _delete_runs(schedule_id: str) -> Transaction[bool]:
    """Delete some runs of a schedule that is deleted; return whether there may be more."""
    rows = yield Query(DELETE_SCHEDULE_RUNS, {"id": schedule_id, "limit": _RUNS})
    return TransactionResult(len(rows) == _RUNS)


def of_a_file(schedule: Schedule) -> Conflict:
    """Return the refusal to change what an agents file defines."""
    return Conflict(f"The agents file {schedule.source} defines this schedule; change it there.")


def _page(workspace_id: str, agent_id: str | None, page: Page) -> Transaction[list[Schedule]]:
    """Read a page by keyset, and one more row to tell whether there are more."""
    given = {"agent_id": agent_id} | _keys(page)
    given = {name: value for name, value in given.items() if value is not None}
    shape = {"workspace": workspace_id, "limit": page.limit + 1}
    rows = yield Query(list_schedules(frozenset(given)), given | shape)
    found = [schedule_from(row) for row in rows]
    return TransactionResult(found[::-1] if page.backwards else found)


def _runs(schedule_id: str, page: Page) -> Transaction[list[ScheduleRun]]:
    """Read a page by keyset, and one more row to tell whether there are more."""
    given = {name: value for name, value in _keys(page).items() if value is not None}
    shape = {"schedule": schedule_id, "limit": page.limit + 1}
    rows = yield Query(list_runs(frozenset(given)), given | shape)
    found = [run_from(row) for row in rows]
    return TransactionResult(found[::-1] if page.backwards else found)


def _keys(page: Page) -> dict[str, Any]:
    """Return where the page begins; `after` takes precedence."""
    if page.after is not None:
        return {"after": page.after}
    return {"before": page.before}


def _of_agents(
    workspace_id: str, agent_ids: tuple[str, ...]
) -> Transaction[dict[str, list[Schedule]]]:
    """Read the first schedules of each agent: all together if they are few."""
    found: dict[str, list[Schedule]] = {one: [] for one in agent_ids}
    if not agent_ids:
        return TransactionResult(found)
    ends = {"agent": min(agent_ids), "last_agent": max(agent_ids)}
    shape = ends | {"workspace": workspace_id, "limit": _TOGETHER}
    rows = yield Query(SCHEDULES_OF_AGENTS, shape)
    if len(rows) < _TOGETHER:
        for one in map(schedule_from, rows):
            if len(found.get(one.agent_id, ())) < OF_AN_AGENT:
                found.setdefault(one.agent_id, []).append(one)
        return TransactionResult(found)
    for agent_id in agent_ids:
        shape = {"workspace": workspace_id, "agent": agent_id, "limit": OF_AN_AGENT}
        rows = yield Query(SCHEDULES_OF_AGENT, shape)
        found[agent_id] = [schedule_from(row) for row in rows]
    return TransactionResult(found)


def _put_of_file(
    agent_id: str, wanted: Schedule | None, again: Callable[[Schedule], Schedule]
) -> Transaction[None]:
    """Create, change or delete the schedule that an agents file gives to its agent."""
    rows = yield Query(SCHEDULE_OF_FILE, {"agent": agent_id})
    known = schedule_from(rows[0]) if rows else None
    if known is None:
        if wanted is not None:
            yield Query(INSERT_SCHEDULE, schedule_columns(wanted))
    elif wanted is None:
        yield from _gone(known)
    elif (known.definition, known.name) != (wanted.definition, wanted.name):
        yield changed(again(known))
    elif known.source != wanted.source:
        yield changed(replace(known, source=wanted.source))
    return TransactionResult(None)


def _pause_agent(workspace_id: str, agent_id: str, at: int, *, paused: bool) -> Transaction[None]:
    """Pause or resume an agent with its schedules; ones paused for another reason stay so."""
    of = {"workspace": workspace_id, "agent": agent_id}
    yield Query(PAUSE_AGENT, of | {"new_paused": paused, "at": at})
    for row in (yield Query(LOCK_SCHEDULES_OF_AGENT, of)):
        schedule = schedule_from(row)
        if paused and schedule.is_active:
            yield changed(replace(schedule.paused(PausedReason.AGENT_PAUSED), updated_at=at))
        elif not paused and schedule.paused_reason is PausedReason.AGENT_PAUSED:
            yield changed(resumed(schedule, at))
    return TransactionResult(None)


def resumed(schedule: Schedule, at: int) -> Schedule:
    """Return it active from now on; times that have passed meanwhile are not made up for.

    Raises UnknownZone.
    """
    active = replace(schedule, paused_reason=None, failures=0, missed=0, updated_at=at)
    after = active.scheduled(at)
    if schedule.waiting is None or not after.is_active:
        return after
    return replace(after, next_at=schedule.next_at)


def _due(until: int, limit: int) -> Transaction[list[tuple[str, int]]]:
    """Read the ids of schedules that are due by then, of all workspaces, and when."""
    rows = yield Query(DUE_SCHEDULES, {"now": until, "limit": limit})
    return TransactionResult([(row[0], row[1]) for row in rows])


def _forget(before: int, limit: int) -> Transaction[int]:
    """Delete runs older than this, the oldest first; return how many there were."""
    rows = yield Query(FORGET_SCHEDULE_RUNS, {"since": before, "limit": limit})
    return TransactionResult(len(rows))


class ScheduleStore:
    """Schedules and their runs."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def create(
        self, schedule: Schedule, promise: Idempotency | None
    ) -> tuple[Schedule, bool]:
        """Create a schedule, or return the one of the first request with this key, and True.

        Raises IdempotencyMismatch, ScheduleNotFound (it is deleted).
        """
        return await self._driver.write(lambda: _create(schedule, promise))

    async def get(self, workspace_id: str, schedule_id: str) -> Schedule:
        """Return one schedule. Raises ScheduleNotFound."""
        return await self._driver.read(lambda: _get(workspace_id, schedule_id))

    async def page(self, workspace_id: str, agent_id: str | None, page: Page) -> list[Schedule]:
        """Return a page, newest first, and one more if there are more."""
        return await self._driver.read(lambda: _page(workspace_id, agent_id, page))

    async def runs(self, schedule_id: str, page: Page) -> list[ScheduleRun]:
        """Return a page of a schedule's runs, newest first, and one more if there are more."""
        return await self._driver.read(lambda: _runs(schedule_id, page))

    async def of_agents(
        self, workspace_id: str, agent_ids: tuple[str, ...]
    ) -> dict[str, list[Schedule]]:
        """Return the schedules of each agent, oldest first, at most OF_AN_AGENT of each."""
        return await self._driver.read(lambda: _of_agents(workspace_id, agent_ids))

    async def change(
        self, workspace_id: str, schedule_id: str, edit: Callable[[Schedule], Schedule]
    ) -> Schedule:
        """Change a schedule by a function, which may raise. Raises ScheduleNotFound."""
        return await self._driver.write(lambda: _change(workspace_id, schedule_id, edit))

    async def delete(self, workspace_id: str, schedule_id: str) -> None:
        """Delete a schedule with its runs. Raises ScheduleNotFound, Conflict if a file has it."""
        await self._driver.write(lambda: _delete(workspace_id, schedule_id))
        while await self._driver.write(lambda: _delete_runs(schedule_id), durable=False):
            pass

    async def put_of_file(
        self,
        agent_id: str,
        wanted: Schedule | None,
        again: Callable[[Schedule], Schedule],
    ) -> None:
        """Make the schedule that an agents file gives to its agent the wanted one, or delete it.

        `again` returns the known one with the file's definition; an unchanged one is left alone.
        """
        await self._driver.write(lambda: _put_of_file(agent_id, wanted, again))

    async def pause_agent(self, workspace_id: str, agent_id: str, at: int, *, paused: bool) -> None:
        """Pause or resume an agent and its schedules."""
        await self._driver.write(lambda: _pause_agent(workspace_id, agent_id, at, paused=paused))

    async def due(self, until: int, limit: int) -> list[tuple[str, int]]:
        """Return the ids of schedules that are due by then, of all workspaces, and when each is.

        The most overdue come first.
        """
        return await self._driver.read(lambda: _due(until, limit), light=True)

    async def fire_due(self, firing: Firing, ids: Sequence[str]) -> list[Fired]:
        """Run these in one transaction, each once whatever other processes do.

        One that is not due any more, or that another process has locked, is left out.
        """
        return await self._driver.write(lambda: fire_due(firing, ids))

    async def fire_now(self, firing: Firing, request: FireNow) -> Fired:
        """Run a schedule by hand, paused or not, as its overlap says.

        Raises ScheduleNotFound, IdempotencyMismatch, Conflict if a run waits already.
        """
        return await self._driver.write(lambda: _fire_now(firing, request))

    async def forget_runs(self, before: int, limit: int) -> int:
        """Delete the oldest runs that began until then; return how many."""
        return await self._driver.write(lambda: _forget(before, limit))
