"""The stream of an execution with those of all that it has called, woven into one.

Each log is followed by a task of its own and folded as it would be alone; the frames go out in the
order in which they come. A frame says whose it is, and its id is a position in all logs, so that a
client that reconnects gets each log from where it was. All frames of a child come between its
parent's `child_started` and `child_finished`; its parent's end comes behind its own.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from starlette.responses import Response

from outlast.http.call import Call
from outlast.http.sse import EventStream, frame
from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.error import ExecutionNotFound
from outlast.model.event import (
    START,
    TERMINAL_EVENTS,
    ApprovalRequested,
    ApprovalResolved,
    ChildFinished,
    ChildStarted,
    Entry,
    Event,
    ToolFinished,
)
from outlast.model.workspace import Principal
from outlast.rooms.executions.stream import Fold, Log
from outlast.rooms.executions.stream.positions import Position
from outlast.services.all import Services

MOST_OPEN: Final = 100
"""Maximum executions of one level that are followed at a time; others come once one is over."""
_AHEAD: Final = 64
"""Frames made before the client has taken them."""
_LOOK_SECONDS: Final = 1.0
"""How long the end of a child is awaited before it is checked that it was not deleted."""


@dataclass(slots=True)
class _Node:
    """An execution of the tree."""

    id: str
    depth: int
    position: Position
    """As sent; the client's own where it begins."""
    fold: Fold
    children: list[str] = field(default_factory=list)
    """Ids of those it has called, by their number."""
    open: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    """The followers of those whose end was not sent, by their number."""
    finished: set[int] = field(default_factory=set)
    """Numbers of those whose end the client has."""


class Weaver:
    """Follows a tree from a position on; used once."""

    def __init__(
        self, services: Services, principal: Principal, root_id: str, after: Position
    ) -> None:
        self._services = services
        self._principal = principal
        self._after = after
        self._root_id = root_id
        self._sent = Position(after.cursor, below=after.below)
        self._places: dict[int, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MOST_OPEN)
        )
        self._ready: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self._turn = asyncio.Lock()

    async def frames(self, log: Log | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the frames; `log` is the root's from its start, if it is already followed."""
        root = asyncio.create_task(self._follow_root(log), name=self._root_id)
        try:
            while (made := await self._ready.get()) is not None:
                yield made
            await root
        finally:
            root.cancel()
            await asyncio.wait({root})

    async def _follow_root(self, log: Log | None) -> None:
        node = _Node(self._root_id, 0, self._sent, Fold(self._root_id, self._after.cursor))
        try:
            await self._follow(node, log)
        except BaseException:
            while self._ready.full():
                self._ready.get_nowait()
            self._ready.put_nowait(None)
            raise
        await self._ready.put(None)

    async def _follow(self, node: _Node, log: Log | None = None) -> None:
        """Send the frames of an execution: of the root to the log's end, else to its first end."""
        if log is None:
            log = self._services.executions.follow(self._principal, node.id)
        after, begun = node.position.cursor, node.position.cursor == START
        try:
            async with aclosing(log) as batches:
                async for entries in batches:
                    for entry in entries:
                        await self._settled(node, entry.event, sent=entry.cursor <= after)
                        await self._send(node, entry)
                        if isinstance(entry.event, ChildStarted):
                            node.children.append(entry.event.execution_id)
                        if not begun and entry.cursor >= after:
                            begun = True
                            self._begin_open(node)
                        elif begun and isinstance(entry.event, ChildStarted):
                            self._begin(node, len(node.children) - 1)
                        if node.depth and isinstance(entry.event, TERMINAL_EVENTS):
                            return
        finally:
            await self._stop(node)

    async def _settled(self, node: _Node, event: Event, *, sent: bool) -> None:
        """Wait until all has been sent that comes before an event."""
        if isinstance(event, ChildFinished):
            number = _number(node, event)
            if sent:
                node.finished.add(number)
            else:
                await self._all_of(node, number)
        elif isinstance(event, TERMINAL_EVENTS) and not sent:
            for number in [*node.open]:
                await self._all_of(node, number)

    async def _all_of(self, node: _Node, number: int) -> None:
        """Wait until all of a child was sent; of one that is deleted nothing more comes."""
        task = node.open.get(number)
        if task is None:
            return
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            if task.done():
                break
            try:
                await self._services.executions.known(self._principal, node.children[number])
            except ExecutionNotFound:
                task.cancel()
        if not task.cancelled():
            task.result()
        del node.open[number]

    async def _send(self, node: _Node, entry: Entry) -> None:
        """Send the frame of an entry, if it has one that the client does not have."""
        data = node.fold.data(entry)
        position = node.position
        if entry.cursor <= position.cursor:
            return
        async with self._turn:  # frames go out in the order of their positions
            position.cursor = entry.cursor
            if isinstance(entry.event, ChildFinished):
                position.below.pop(_number(node, entry.event), None)
            elif isinstance(entry.event, TERMINAL_EVENTS):
                position.below.clear()
                position.over = node.depth > 0
            if data is not None and not _is_copy(entry.event):
                made = orjson.dumps(_woven(node.id, entry, data))
                await self._ready.put(frame(str(self._sent), made))

    def _begin_open(self, node: _Node) -> None:
        """Follow the children that had begun by the client's position and were not over."""
        for number in range(len(node.children)):
            found = node.position.below.get(number)
            if number in node.finished:
                node.position.below.pop(number, None)
            elif found is None or not found.over:
                self._begin(node, number)

    def _begin(self, node: _Node, number: int) -> None:
        """Follow a child from the client's position in its log, or from its start."""
        child_id = node.children[number]
        position = node.position.below.setdefault(number, Position())
        child = _Node(child_id, node.depth + 1, position, Fold(child_id, position.cursor))
        task = asyncio.create_task(self._follow_child(child), name=child_id)
        node.open[number] = task

    async def _follow_child(self, child: _Node) -> None:
        async with self._places[child.depth]:
            with suppress(ExecutionNotFound):  # it was deleted
                await self._follow(child)

    async def _stop(self, node: _Node) -> None:
        """End the tasks of a node's children."""
        tasks = set(node.open.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _number(node: _Node, event: ChildFinished) -> int:
    """Return the number of the child that has ended."""
    return node.children.index(event.execution_id)


_OF_CALLS: Final = (
    ToolFinished,
    ApprovalRequested,
    ApprovalResolved,
    ClientCallRequested,
    ClientCallAnswered,
)


def _is_copy(event: Event) -> bool:
    """Whether the event is a child's, whose own log has it too."""
    if isinstance(event, _OF_CALLS):
        return event.execution_id is not None
    return False


def _woven(execution_id: str, entry: Entry, data: dict[str, Any]) -> dict[str, Any]:
    """Return a frame's data with whose it is, and its id in the stream of that alone."""
    kind, rest = data["type"], {name: value for name, value in data.items() if name != "type"}
    if isinstance(entry.event, ChildStarted | ChildFinished):
        rest["childId"] = rest.pop("executionId")
    rest.pop("executionId", None)
    return {"type": kind, "executionId": execution_id, "cursor": str(entry.cursor), **rest}


def woven_stream(
    call: Call,
    services: Services,
    execution_id: str,
    *,
    after: Position | None = None,
    log: Log | None = None,
) -> Response:
    """Return the frames of an execution and of all below it, from a position, then live."""
    weaver = Weaver(services, call.principal, execution_id, after or Position())
    return EventStream(weaver.frames(log), call.streams, {"X-Execution-Id": execution_id})
