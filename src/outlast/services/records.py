"""Records: what a workspace's executions and their steps did, and the costs."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from outlast.model.record import (
    Branch,
    ExecutionRecord,
    Outline,
    Part,
    Placed,
    Record,
    RecordId,
    Tree,
)
from outlast.model.workspace import Principal, Scope
from outlast.store.records import RecordPage, RecordStore

PAGE_CHARACTERS: Final = 1024 * 1024
"""Characters of content that are read at once; a larger execution is a page of its own."""
_PAGE: Final = 200
"""Executions that are read at once."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of what is under a record."""


CLOSED: Final = Closed()
Walked: TypeAlias = Record | Closed


class TreeMoved(Exception):
    """A tree has changed while it was read."""


class Records:
    """The records of a workspace."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    async def page(
        self, principal: Principal, agent_ids: Sequence[str], number: int, size: int
    ) -> list[ExecutionRecord]:
        """Return the page of this number, from 1, newest first; of all agents if none is named.

        Raises MissingScope.
        """
        principal.require(Scope.EXECUTIONS_READ)
        page = RecordPage(size, (number - 1) * size, tuple(dict.fromkeys(agent_ids)))
        return await self._store.page(principal.workspace_id, page)

    async def get(self, principal: Principal, wanted: RecordId) -> Record:
        """Return an execution or one of its steps. Raises ExecutionNotFound, MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._store.get(principal.workspace_id, wanted)

    async def nested(self, principal: Principal, wanted: RecordId) -> Tree:
        """Like `get`, with everything under it. Raises ExecutionNotFound, MissingScope."""
        found = await self.get(principal, wanted)
        if not isinstance(found, ExecutionRecord):
            return Tree(found)
        return await self._store.tree(principal.workspace_id, found.execution.id)

    async def around_message(self, principal: Principal, wanted: RecordId) -> Tree:
        """Return the execution that wrote or answered a message. Raises like `nested`."""
        found = await self.get(principal, wanted)
        return await self._store.tree(principal.workspace_id, found.execution.id)

    async def outline(self, principal: Principal, execution_id: str) -> Outline:
        """Return the tree of an execution without content. Raises like `nested`."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._store.outline(principal.workspace_id, execution_id)

    async def walk(self, principal: Principal, outline: Outline) -> AsyncGenerator[Walked, None]:
        """Yield each record of a tree before those under it, and CLOSED behind them.

        The content is read in pages, so that one of them is in memory at a time, whatever the size
        of the tree. Raises TreeMoved if the tree is not as the outline has it any more.
        """
        walk = _Walk(self._store, principal.workspace_id, outline)
        root = next(one for one in outline.placed if one.id == outline.root_id)
        open_: list[Iterator[Part | Placed]] = [iter([root])]
        while open_:
            match next(open_[-1], None):
                case None:
                    open_.pop()
                    if open_:  # but for the root's own place
                        yield CLOSED
                case Placed() as placed:
                    branch = await walk.branch(placed)
                    yield ExecutionRecord(branch.execution, walk.total(placed))
                    open_.append(walk.under(branch))
                case part:
                    yield part
                    yield CLOSED


class _Walk:
    """Reads the branches of a tree in the order in which they are needed."""

    def __init__(self, store: RecordStore, workspace_id: str, outline: Outline) -> None:
        self._store = store
        self._workspace_id = workspace_id
        self._below: dict[str | None, list[Placed]] = defaultdict(list)
        for one in sorted(outline.placed, key=lambda one: (one.began, one.id)):
            self._below[None if one.id == outline.root_id else one.parent_id].append(one)
        self._order = list(self._ordered(None))
        self._totals: dict[str, int] = {}
        for one in reversed(self._order):
            below = (self._totals[child.id] for child in self._below[one.id])
            self._totals[one.id] = one.credits + sum(below)
        self._next = 0
        """How many of the order have been read."""
        self._read: dict[str, Branch] = {}

    def _ordered(self, above: str | None) -> Iterator[Placed]:
        for one in self._below[above]:
            yield one
            yield from self._ordered(one.id)

    def total(self, placed: Placed) -> int:
        """Return the credits of an execution and of all below it."""
        return self._totals[placed.id]

    def under(self, branch: Branch) -> Iterator[Part | Placed]:
        """Return what is directly under an execution, oldest first."""
        below = self._below[branch.execution.id]
        return iter(sorted([*branch.parts, *below], key=lambda one: one.began))

    async def branch(self, placed: Placed) -> Branch:
        """Return the content of an execution, once. Raises TreeMoved."""
        if placed.id not in self._read:
            await self._read_page()
        branch = self._read.pop(placed.id, None)
        if branch is None or branch.execution.credits != placed.credits:
            raise TreeMoved
        return branch

    async def _read_page(self) -> None:
        ids: list[str] = []
        size = 0
        while self._next < len(self._order) and len(ids) < _PAGE and size < PAGE_CHARACTERS:
            one = self._order[self._next]
            ids.append(one.id)
            size += one.size
            self._next += 1
        self._read |= await self._store.branches(self._workspace_id, ids)
