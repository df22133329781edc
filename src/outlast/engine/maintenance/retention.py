"""Deletes conversations past their retention, and completes interrupted deletions.

What was deleted is hidden at once; its content follows in small transactions. After each one the
duty pauses for a multiple of the time that it took, so that a backlog of any size leaves the
database to those who work. State is in the database alone: a crash between two transactions leaves
work for the next run.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

import structlog

from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.model.clock import Clock
from outlast.model.retention import Plans
from outlast.store.conversations.retention import Cutoffs, DueConversation
from outlast.store.conversations.store import ConversationStore

PURGE: Final = "purge"
_EVERY_SECONDS: Final = 60.0
_LIMIT: Final = 100
"""Conversations that are deleted before their content is."""
SHARE: Final = 0.1
"""Share of the time in which the duty may write."""
_LONGEST_PAUSE: Final = 30.0
_COUNTED: Final = 10_000
"""The backlog is counted up to this."""
_COUNT_SECONDS: Final = 60.0

T = TypeVar("T")

logger = structlog.get_logger(__name__)


class Retention:
    """Deletes what is due; concurrent runs take different rows."""

    def __init__(
        self,
        store: ConversationStore,
        plans: Plans,
        clock: Clock,
        *,
        share: float = SHARE,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """`progress` is called with the conversations and executions purged since the last call."""
        self._store = store
        self._plans = plans
        self._clock = clock
        self._pause = (1 - share) / share
        """Pause after a write, as a multiple of its time."""
        self._progress = progress
        self._emptied = 0
        """Executions whose content was deleted."""
        self._unerased = False
        """Whether the database's files hold content that this has deleted."""
        self._counted_at: float | None = None
        self.backlog = 0
        """Conversations past their retention, as this process knows; at most 10,000."""

    @property
    def duty(self) -> MaintenanceDuty:
        """Every minute."""
        return MaintenanceDuty(PURGE, _EVERY_SECONDS, _LIMIT, self._run)

    async def _run(self, limit: int) -> int:
        """Do the same, with a line in the log."""
        before = self._emptied
        deleted = await self.run(limit)
        emptied = self._emptied - before
        if deleted or emptied:
            logger.info("retention.purged", conversations=deleted, executions=emptied)
        return deleted

    async def run(self, limit: int) -> int:
        """Delete at most `limit` conversations, and all content that is left; return how many."""
        executions = await self._content()
        cutoffs = Cutoffs.of(self._plans, self._clock.now())
        due = await self._store.due(cutoffs, limit)
        await self._count(cutoffs, any_due=bool(due))
        deleted = 0
        for some in _grouped(due, self._store.at_once.executions):
            deleted += await self._delete(some)
        self._report(deleted, 0)
        if deleted:
            executions += await self._content()
        self._unerased = self._unerased or bool(deleted or executions)
        if self._unerased and deleted < limit:  # else the next batch follows at once
            await self._store.erase()
            self._unerased = False
        return deleted

    async def _delete(self, some: Sequence[DueConversation]) -> int:
        """Delete conversations, unless they are no longer due now."""
        now = self._clock.now()
        cutoffs = Cutoffs.of(self._plans, now)
        deleted = await self._paced(lambda: self._store.delete_if_due(some, cutoffs, now))
        self.backlog = max(0, self.backlog - deleted)
        return deleted

    async def _content(self) -> int:
        """Delete all content that deleted conversations have left; return of how many executions.

        One whose content takes several transactions is counted in each.
        """
        total = 0
        while purged := await self._paced(self._store.purge):
            total += purged
            self._emptied += purged
            self._report(0, purged)
        return total

    async def _paced(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write, then pause for as long as the share requires."""
        began = self._clock.monotonic()
        result = await write()
        took = self._clock.monotonic() - began
        if result:
            await self._clock.sleep(min(took * self._pause, _LONGEST_PAUSE))
        return result

    async def _count(self, cutoffs: Cutoffs, *, any_due: bool) -> None:
        """Count the backlog, at most once a minute."""
        now = self._clock.monotonic()
        if not any_due:
            self.backlog = 0
        elif self._counted_at is None or now - self._counted_at >= _COUNT_SECONDS:
            self._counted_at = now
            self.backlog = await self._store.count_due(cutoffs, _COUNTED)

    def _report(self, conversations: int, executions: int) -> None:
        if self._progress is not None and (conversations or executions):
            self._progress(conversations, executions)


def _grouped(due: Iterable[DueConversation], most: int) -> Iterator[list[DueConversation]]:
    """Yield the conversations in groups for a transaction each: of `most` turns, or one."""
    group: list[DueConversation] = []
    turns = 0
    for one in due:
        if group and turns + one.turns > most:
            yield group
            group, turns = [], 0
        group.append(one)
        turns += one.turns
    if group:
        yield group
