"""Moves of siblings that are made at the same time, joined into one transaction on Postgres.

The children of one answer begin together, and their ends lock the same parent: one after the other
they would cost a commit each. What is joined is as if each had been made alone, in this order.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import structlog

from outlast.model.error import Overloaded, StaleWrite
from outlast.model.event import Entry
from outlast.model.event_codec import encode
from outlast.model.execution import Status
from outlast.store.budgets.shares import Applying, fitted
from outlast.store.driver import Batch, Driver, Together, Transaction, TransactionResult
from outlast.store.executions.advance import advance, entries_of, only_begins, recorded
from outlast.store.executions.children import call_of, decided, decides, result_of
from outlast.store.executions.joined_siblings import BEGIN_SIBLINGS, END_SIBLINGS
from outlast.store.executions.locks import compared
from outlast.store.executions.log import DELETE_LAST_TEXT, append_behind
from outlast.store.executions.spending import spend
from outlast.store.executions.values import Advance, Advanced
from outlast.store.listeners import Committed

logger = structlog.get_logger(__name__)

Joined: TypeAlias = Callable[[Sequence[Advance]], Transaction[list[Advanced | None]]]
"""Makes moves in one transaction; None for each whose execution has moved on."""
_OTHER_TEXT: Final = "The log does not hold the text that this step has shown."


def begin_siblings(moves: Sequence[Advance]) -> Transaction[list[Advanced | None]]:
    """Set executions to running, each with its event."""
    parameters = []
    for move in moves:
        ((at, event),) = move.events
        shown = {"kind": event.kind, "data": encode(event).decode(), "at": at}
        parameters.append(compared(move.before, move.after, keep_pause=True) | shown)
    rows = yield Batch(BEGIN_SIBLINGS, tuple(parameters), alone=True)
    begun = {row[0]: row for row in rows}
    found: list[Advanced | None] = []
    committed: list[Committed] = []
    for move in moves:
        if (row := begun.get(move.before.id)) is None:
            found.append(None)
            continue
        ((at, event),) = move.events
        entries = (Entry(move.after.segment, row[1] + 1, at, event),)
        found.append(Advanced(entries, Applying.read(row[2])))
        committed.append(Committed(move.before.id, entries, move.after))
    return TransactionResult(found, tuple(committed))


def end_siblings(moves: Sequence[Advance]) -> Transaction[list[Advanced | None]]:
    """Complete children of one parent, and answer its calls. Raises StaleWrite if one has moved on.

    Then nothing has changed.
    """
    at = max(move.after.updated_at for move in moves)
    results = {call: result_of(one.after) for one in moves if (call := call_of(one.after))}
    given = (compared(move.before, move.after, keep_pause=False) for move in moves)
    pieces = tuple(
        {"id": move.before.id, "pieces": move.appended_pieces}
        for move in moves
        if move.appended_pieces
    )
    texts = (Batch(DELETE_LAST_TEXT, pieces),) if pieces else ()
    answers = yield Together((Batch(END_SIBLINGS, tuple(given)), *texts, *decides(results, at)))
    ended = {row[0]: row for row in answers[0]}
    last: dict[str, int] = {}
    for execution_id, seq in answers[1] if pieces else ():
        last[execution_id] = max(seq, last.get(execution_id, 0))
    if len(ended) < len(moves):
        raise StaleWrite
    found: list[Advanced | None] = []
    committed: list[Committed] = []
    for move in moves:
        execution_id, end, applying = ended[move.before.id]
        if move.appended_pieces:
            if last.get(execution_id, -1) < end:
                raise StaleWrite(_OTHER_TEXT)
            end = last[execution_id] - move.appended_pieces
        entries = yield from append_behind(end, execution_id, move.after.segment, entries_of(move))
        yield from recorded(move)
        found.append(Advanced(entries, Applying.read(applying)))
        committed.append(Committed(execution_id, entries, move.after))
    effects = yield from decided(tuple(results), answers[-3:], at)
    for move in moves:
        yield from spend(move, move.after.reserved, ended[move.before.id][2], alone=False)
    return TransactionResult(
        found,
        (*committed, *effects.committed),
        effects.runnable,
        cancelled=effects.cancelled,
        paused=effects.paused,
    )


def _ends(move: Advance) -> bool:
    """Whether the move only completes an execution that has called none."""
    more = (
        move.waits
        or move.begun
        or move.children
        or move.memory
        or move.images
        or move.before.children
    )
    return not (
        more
        or move.before.status is not Status.RUNNING
        or move.after.status is not Status.COMPLETED
        or move.after.is_client_driven
        or move.after.browser is not None
        or move.state is not None
        or move.pause is not None
    )


def joined_as(move: Advance) -> Joined | None:
    """Return by what the move of a child is joined with those of its siblings."""
    if only_begins(move):
        return begin_siblings
    return end_siblings if _ends(move) else None


@dataclass(slots=True, eq=False)
class _Waiting:
    """A move to be made, and the future of its result; None: it is to be made alone."""

    move: Advance
    made: asyncio.Future[Advanced | None]


_Key: TypeAlias = tuple[Joined, str | None]


@dataclass(slots=True)
class Siblings:
    """Joins moves of siblings: those that come while some are under way are the next ones."""

    driver: Driver
    _gathering: dict[_Key, list[_Waiting]] = field(default_factory=dict)
    _under_way: dict[_Key, asyncio.Future[None]] = field(default_factory=dict)

    async def advance(self, move: Advance) -> Advanced:
        """Make the move of a child. Raises what `advance` raises."""
        if (joined := joined_as(move)) is None:
            return await self._alone(move)
        key, loop = (joined, move.before.parent_id), asyncio.get_running_loop()
        gathered = self._gathering.get(key)
        waiting = _Waiting(move, loop.create_future())
        if gathered is None:
            await self._first(key, waiting)
        elif all(one.move.before.id != move.before.id for one in gathered):
            gathered.append(waiting)
        else:
            return await self._alone(move)
        return await waiting.made or await self._alone(move)

    async def _first(self, key: _Key, waiting: _Waiting) -> None:
        """Wait for what is under way, then make what has been gathered until then."""
        loop = asyncio.get_running_loop()
        gathered = self._gathering[key] = [waiting]
        before, over = self._under_way.get(key), loop.create_future()
        self._under_way[key] = over
        if before is None:
            before = loop.create_future()
            loop.call_soon(_end, before)  # for those that come in the same turn of the loop
        try:
            await asyncio.shield(before)
            del self._gathering[key]
            await self._made(key[0], gathered)
        finally:
            if self._gathering.get(key) is gathered:
                del self._gathering[key]
            if self._under_way.get(key) is over:
                del self._under_way[key]
            for future in (over, *(one.made for one in gathered)):
                _end(future)

    async def _made(self, joined: Joined, gathered: Sequence[_Waiting]) -> None:
        """Make moves together; one by one if they cannot all be made."""
        if len(gathered) == 1:
            gathered[0].made.set_result(await self._alone(gathered[0].move))
            return
        moves = [one.move for one in gathered]
        ids = [move.before.id for move in moves]
        try:
            found = await self.driver.write(lambda: joined(moves), of=ids)
        except StaleWrite:
            return
        except Overloaded as error:  # none of them would be made alone either
            for one in gathered:
                if not one.made.done():
                    one.made.set_exception(Overloaded(error.message))
            return
        except Exception as error:  # noqa: BLE001 - each raises its own, if it meets one alone
            logger.warning("siblings.apart", executions=ids, error=type(error).__name__)
            return
        for one, made in zip(gathered, found, strict=True):
            if not one.made.done():
                one.made.set_result(made)

    async def _alone(self, move: Advance) -> Advanced:
        of = (move.before.id,)
        return await fitted(lambda full: self.driver.write(lambda: advance(move, full), of=of))


def _end(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
