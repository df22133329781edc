"""Lists of executions: pages that are bounded in bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson

from outlast.model.execution import TERMINAL, Execution, Status, ToolStep
from outlast.model.ids import EXECUTION, earliest, parse
from outlast.model.unreadable import ExecutionUnreadable
from outlast.model.usage import NOTHING_SPENT, Spent
from outlast.model.wait import Wait
from outlast.model.workspace import Principal, Scope
from outlast.services.executions import Executions, ExecutionView
from outlast.store.executions.lists import ExecutionFilter, Listed, ShortSteps
from outlast.store.executions.partial import unreadable
from outlast.store.known_agents import KnownAgents
from outlast.store.page import Page
from outlast.store.store import Store

__all__ = ["Created", "Listed", "Lists"]

_MOST_BYTES: Final = 8 * 1024 * 1024
"""Size of a page of whole executions; a larger execution is a page of its own."""
_NO_STEPS: Final = ShortSteps()
HOUR: Final = 60 * 60 * 1000
_NEWEST: Final = f"{EXECUTION}_~"
"""Sorts behind every id."""
MOST_COUNTED: Final = 1000
"""Counts stop there."""


@dataclass(frozen=True, slots=True)
class Created:
    """How many executions were created in a time; counts stop at a bound."""

    at: int
    """When it begins."""
    count: int
    failed: int


class Lists:
    """Pages of a workspace's executions."""

    def __init__(self, store: Store, executions: Executions, known: KnownAgents) -> None:
        self._store = store
        self._executions = executions
        self._known = known

    async def page(
        self, principal: Principal, wanted: ExecutionFilter, page: Page
    ) -> tuple[list[Listed], bool]:
        """Return a page, newest first, and whether there are more in the direction of the walk."""
        self._executions.may_list(principal, wanted)
        found = await self._store.executions.listed(
            principal.workspace_id, _between_ids(wanted), page
        )
        return page.cut(found)

    async def page_within(
        self, principal: Principal, wanted: ExecutionFilter, page: Page, most: int
    ) -> tuple[list[Listed], bool, str | None]:
        """Return a page like `page`, of the next `most` executions of the filter's agent alone.

        For filters of which no index leaves few. The last value is where the next page goes on if
        this one is not full and the agent has more; else None.
        """
        self._executions.may_list(principal, wanted)
        assert wanted.agent_id is not None
        whole, upwards = _between_ids(wanted), page.backwards
        behind = page.before if upwards else page.after or whole.id_before or _NEWEST
        assert behind is not None
        workspace_id = principal.workspace_id
        end = await self._store.executions.further(
            workspace_id, wanted.agent_id, behind, most - 1, upwards=upwards
        )
        bounded = whole if end is None else _up_to(end, whole, upwards=upwards)
        found = await self._store.executions.listed(workspace_id, bounded, page)
        rows, more = page.cut(found)
        return rows, more, None if bounded is whole or len(rows) == page.limit else end

    async def between(
        self, principal: Principal, times: Sequence[int], most: int = MOST_COUNTED
    ) -> list[Created]:
        """Return how many executions were created between each two times. Raises MissingScope.

        Counts stop at `most`.
        """
        principal.require(Scope.EXECUTIONS_READ)
        bounds = [earliest(EXECUTION, at) for at in times]
        counts = await self._store.executions.counts(principal.workspace_id, bounds, most)
        return [
            Created(at, count, failed)
            for at, (count, failed) in zip(times[:-1], counts, strict=True)
        ]

    async def of_agents(
        self, principal: Principal, agent_ids: Sequence[str], since: int
    ) -> list[tuple[int, int]]:
        """Return how many executions of each were created since, and how many of them failed.

        Counts stop at MOST_COUNTED. Raises MissingScope.
        """
        principal.require(Scope.EXECUTIONS_READ)
        first = earliest(EXECUTION, since)
        return await self._store.executions.counts_of_agents(
            principal.workspace_id, agent_ids, first, MOST_COUNTED
        )

    async def row(self, principal: Principal, execution_id: str) -> ExecutionView:
        """Return one execution without steps and waits, which are not read.

        Raises ExecutionNotFound, InvalidId, MissingScope.
        """
        principal.require(Scope.EXECUTIONS_READ)
        found = await self._executions.known(principal, parse(EXECUTION, execution_id))
        name = await self._known.name_of(found)
        (below,) = await self.spent_below(principal, [found])
        return ExecutionView(found, (), (), name, below=below)

    async def last_of_conversation(
        self, principal: Principal, conversation_id: str
    ) -> Execution | None:
        """Return the newest execution of a conversation that stands still, else the newest.

        Raises MissingScope.
        """
        for status in ((Status.SUSPENDED,), ()):
            wanted = ExecutionFilter(conversation_id=conversation_id, status=status)
            self._executions.may_list(principal, wanted)
            found = await self._store.executions.page(principal.workspace_id, wanted, Page(1))
            if found:
                return found[0]
        return None

    async def views(
        self, principal: Principal, wanted: ExecutionFilter, page: Page
    ) -> tuple[list[ExecutionView], bool]:
        """Return the same with steps and approvals; long texts and long tool calls are cut."""
        found, more = await self.page(principal, wanted, page)
        calling = [one.execution.id for one in found if one.execution.steps > 1]
        asking = [one.execution.id for one in found if _may_ask(one.execution)]
        workspace_id = principal.workspace_id
        steps = await self._store.executions.short_steps(workspace_id, calling) if calling else {}
        waits = await self._store.waits.of_each(workspace_id, asking) if asking else {}
        below = await self.spent_below(principal, [one.execution for one in found])
        return [
            replace(
                await self._view(
                    one, steps.get(one.execution.id, _NO_STEPS), waits.get(one.execution.id, ())
                ),
                below=spent,
            )
            for one, spent in zip(found, below, strict=True)
        ], more

    async def spent_below(self, principal: Principal, found: Sequence[Execution]) -> list[Spent]:
        """Return what is spent below each. Raises MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        parents = [one.id for one in found if one.children]
        store = self._store.executions
        below = await store.spent_below(principal.workspace_id, parents) if parents else {}
        return [below.get(one.id, NOTHING_SPENT) for one in found]

    async def whole(
        self, principal: Principal, wanted: ExecutionFilter, page: Page
    ) -> tuple[list[ExecutionView], bool]:
        """Return the same, nothing cut; a page ends early if it is large."""
        found, more = await self.page(principal, wanted, page)
        if page.backwards:
            found.reverse()
        views: list[ExecutionView] = []
        size = 0
        for one in found:
            try:
                view = await self._executions.get(principal, one.execution.id)
            except ExecutionUnreadable:
                shown = replace(one, execution=unreadable(one.execution))
                view = await self._view(shown, _NO_STEPS, ())
            size += _size(view)
            if views and size > _MOST_BYTES:
                more = True
                break
            views.append(view)
        return views[::-1] if page.backwards else views, more

    async def _view(
        self, listed: Listed, steps: ShortSteps, waits: tuple[Wait, ...]
    ) -> ExecutionView:
        execution = unreadable(listed.execution) if steps.unreadable else listed.execution
        cut = (*listed.cut, "toolCalls") if steps.cut else listed.cut
        name = await self._known.name_of(execution)
        return ExecutionView(execution, steps.steps, waits, name, cut)


def _between_ids(wanted: ExecutionFilter) -> ExecutionFilter:
    """Bound a list by ids where it is bounded by times, so that an index serves these too.

    An id is made within moments of the time that is recorded, by clocks that may be set meanwhile.
    """
    since, until = wanted.created_from, wanted.created_before
    return replace(
        wanted,
        id_from=None if since is None else earliest(EXECUTION, since - HOUR),
        id_before=None if until is None else earliest(EXECUTION, until + HOUR),
    )


def _up_to(end: str, wanted: ExecutionFilter, *, upwards: bool) -> ExecutionFilter:
    """Return the filter, ended with this id unless it ends before; the same one if it does."""
    if upwards:
        last = f"{end}~"
        ends_before = wanted.id_before is not None and wanted.id_before < last
        return wanted if ends_before else replace(wanted, id_before=last)
    ends_before = wanted.id_from is not None and wanted.id_from > end
    return wanted if ends_before else replace(wanted, id_from=end)


def _may_ask(execution: Execution) -> bool:
    """Whether it may have waiting calls."""
    return execution.status not in TERMINAL and execution.segment > 0


def _size(view: ExecutionView) -> int:
    """Return its approximate size as JSON, in bytes."""
    calls: Sequence[ToolStep] = [step for step in view.steps if isinstance(step, ToolStep)]
    texts = (view.execution.input, view.execution.output or "")
    shown = [(step.call.parameters, step.result) for step in calls]
    return sum(map(len, texts)) + len(orjson.dumps([shown, view.execution.metadata]))
