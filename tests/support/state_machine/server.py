"""A server that crashes and is started again, and all that is known of its executions.

Every act is a call of the services that may be refused, or be cut off by a crash. After each the
server settles: whatever can go on has gone on, and the dead are raised.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, TypeVar

from outlast.agents.code import CodeFunctions
from outlast.engine.maintenance.due_tasks import DUE_TASKS
from outlast.engine.maintenance.due_waits import DUE_WAITS
from outlast.engine.segment.suspects import SUSPECT_TRIES
from outlast.model.error import Conflict, InvalidField, NotFound, OutlastError, Overloaded
from outlast.model.event import START, Entry, TextAdded, ThinkingAdded
from outlast.model.execution import RESTING, Execution, ModelStep, Status
from outlast.model.wait import Wait
from outlast.model.workspace import Principal, Scope
from outlast.services.approvals import PendingPage
from outlast.services.executions import ExecutionFilter, Page
from outlast.testing import NamedModels
from tests.support.api import Api
from tests.support.clocks import TickingClock
from tests.support.crashes import Crash
from tests.support.databases import Database
from tests.support.state_machine.agreement import Memory, agree
from tests.support.state_machine.answers import lists_of
from tests.support.state_machine.gates import Gates
from tests.support.state_machine.plots import CODE, PlotModel, agents, loop, pieces_of, plot_of
from tests.support.state_machine.tools import ASKING, DESTRUCTIVE, PlotTools
from tests.support.waiting import BOUND, end_tasks

T = TypeVar("T")
APPROVED, ROLLED_BACK = "approved", "rolled back"
"""What people say that lets a tool have its effect again."""
_REFUSALS = (Conflict, NotFound, InvalidField)
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.001, 0.01, 1.5
"""Seconds between two looks at all executions: a look takes more work than most of what goes on."""


@dataclass(slots=True)
class Known:
    """An execution as its client knows it."""

    id: str
    plot: str
    """Empty for what its client drives."""
    conversation: str
    memory: Memory = field(default_factory=Memory)
    heard: list[Entry] = field(default_factory=list)
    """By a follower who comes back whenever its stream ends or breaks."""
    follower: "asyncio.Task[None] | None" = None
    seen: tuple[Any, ...] = ()
    """What it looked like when all rooms were last compared."""


class CrashingServer:
    """A server that crashes now and then and is started again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.clock = TickingClock()
        self.gates = Gates()
        self.model = PlotModel(self.gates, self.clock)
        self.tools = PlotTools(self.gates)
        self.known: list[Known] = []
        self.plots = count(1)
        self.crash = Crash(transactions=None)
        self.starts = 0
        self.api: Api
        self._key = ""
        self._caller: Principal
        self._running = AsyncExitStack()
        self._pending: dict[asyncio.Task[Any], str] = {}
        """Calls that wait for an execution's step to end, and its id."""
        self._gone: set[str] = set()
        """Pieces of text that are superseded."""
        self._waits_for_time = False
        """One that was taken up twice in vain may wait for another such one that is held; or a call
        may look for its input."""
        self._held: set[str] = set()
        """Executions whose calls that are held open all wait for input."""

    # --- starts and ends

    async def open(self) -> None:
        """Start it."""
        self.crash = Crash(transactions=None)
        self.starts += 1
        core = await self._running.enter_async_context(
            self._database.core(
                models=NamedModels({"player": self.model}),
                tools=self.tools,
                code=CodeFunctions({str(CODE.spec.code): loop}),
                clock=self.clock,
                store=self.crash.store,
                drain_seconds=0,
            )
        )
        # what is due is done by the move that waits, and never meanwhile
        await core.maintenance.hold(DUE_WAITS, DUE_TASKS)
        if not self._key:
            made = await core.services.workspaces.put("default")
            key = await core.services.keys.create(made.id, "owner")
            self._key = key.secret
            self._caller = Principal(key.key.id, made.id, frozenset(Scope))
            specs = [(spec, "1") for spec in agents()]
            await core.services.agents.put(made.id, specs)
        self.api = Api(core, self._caller, self._key)
        self._running.push_async_callback(self.api.client.aclose)
        self.services = core.services

    async def close(self) -> None:
        """End it; whoever waits for it is let go."""
        waiting = [*self._pending, *(k.follower for k in self.known if k.follower)]
        await end_tasks(*waiting)
        await asyncio.gather(*waiting, return_exceptions=True)
        self._pending.clear()
        for known in self.known:
            known.follower = None
        await self._running.aclose()

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    # --- acts

    async def act(self, work: Coroutine[Any, Any, T], *, of: str = "") -> T | OutlastError:
        """Do it; a refusal is an answer too. What waits for a step `of` an execution goes on."""
        task = asyncio.ensure_future(work)
        crashed = asyncio.ensure_future(self.crash.happened.wait())
        try:
            async with asyncio.timeout(BOUND):
                while not (task.done() or crashed.done() or (of and await self._is_held(of))):
                    await asyncio.wait(
                        {task, crashed}, timeout=0.002, return_when="FIRST_COMPLETED"
                    )
                    self._pass()
        finally:
            crashed.cancel()
        if task.done():
            return _answer(task, failing=self._is_failing)
        self._pending[task] = of
        return Overloaded("It is not done yet.")

    def _pass(self) -> None:
        """Let time pass where something failed, or waits for a suspect to prove harmless."""
        if self.crash.has_failures or self._waits_for_time:
            self.clock.advance(0.1)

    @property
    def _is_failing(self) -> bool:
        return self.crash.has_failures or self.crash.happened.is_set()

    async def _is_held(self, execution_id: str) -> bool:
        """Whether an execution is to pause while its step waits to be let go."""
        try:
            row = await self.row(execution_id)
        except OutlastError:
            return False
        return row.pause_requested is not None and self._blocked(row)

    async def row(self, execution_id: str) -> Execution:
        return await self.api.core.store.executions.get(self._caller.workspace_id, execution_id)

    async def rows(self) -> list[Execution]:
        """All executions, oldest first; new ones are known from now on."""
        found, _ = await self.services.executions.page(self._caller, ExecutionFilter(), Page(1000))
        ids = {row.id for row in found}
        for gone in [known for known in self.known if known.id not in ids]:
            self.known.remove(gone)
        for row in reversed(found):
            if not any(known.id == row.id for known in self.known):
                plot = "" if row.is_client_driven else plot_of(row.input)
                self.known.append(Known(row.id, plot, row.conversation_id))
        return found[::-1]

    @property
    def caller(self) -> Principal:
        return self._caller

    def of(self, execution_id: str) -> Known:
        return next(known for known in self.known if known.id == execution_id)

    async def questions(self) -> list[Wait]:
        found, _ = await self.services.approvals.pending(self._caller, PendingPage(100))
        return sorted(found, key=lambda one: (one.execution_id, one.tool_call_id))

    async def client_calls(self) -> list[Wait]:
        """All calls that the client runs or collects input for, whatever has become of them."""
        ids = [row.id for row in await self.rows()]
        found = await self.api.core.store.waits.of_each(self._caller.workspace_id, ids)
        own = (wait for one, waits in found.items() for wait in waits if wait.execution_id == one)
        calls = (wait for wait in own if wait.is_client)
        return sorted(calls, key=lambda one: (one.execution_id, one.tool_call_id))

    # --- rest

    def _blocked(self, row: Execution) -> bool:
        """Whether its step waits to be let go, and nothing is about to close it."""
        known = next((k for k in self.known if k.id == row.id), None)
        if known is None or row.status is not Status.RUNNING or row.cancel_requested:
            return False
        if row.id in self._held:
            return True
        requested = row.pause_requested
        closing = requested is not None and requested.now and known.plot in self.gates.asking
        return known.plot in self.gates and not closing

    async def _is_quiet(self) -> bool:
        """Whether nothing goes on by itself: all rest, wait to be let go, or for their turn."""
        rows = await self.rows()
        await self._look_at_held(rows)
        for row in rows:
            if row.status in RESTING or row.waiting or row.is_client_driven:
                continue
            if not self._blocked(row):
                self._waits_for_time |= row.tries >= SUSPECT_TRIES
                return False
        held = {row.id for row in rows if self._blocked(row)}
        return all(of in held for task, of in self._pending.items() if not task.done())

    async def _look_at_held(self, rows: list[Execution]) -> None:
        """Find who waits for input in a call that is held open, and who is about to look for it."""
        held = {row.id: self.tools.held[self.of(row.id).plot] for row in rows}
        held = {one: number for one, number in held.items() if number}
        waits = await self.api.core.store.waits.of_each(self._caller.workspace_id, list(held))
        open_ones = Counter(
            wait.execution_id
            for one, found in waits.items()
            for wait in found
            if wait.execution_id == one
            and wait.is_open
            and wait.request is not None
            and wait.request.live
        )
        self._held = {one for one, number in held.items() if open_ones[one] == number}
        self._waits_for_time = self._held != held.keys()

    async def settle(self) -> None:
        """Wait until nothing goes on by itself, started again where it crashes meanwhile."""
        quiet, pause = 0, _FIRST_PAUSE
        try:
            async with asyncio.timeout(BOUND):
                while quiet < 2:
                    if self.crash.happened.is_set():
                        await self.reopen()
                    try:
                        quiet = quiet + 1 if await self._is_quiet() else 0
                    except Overloaded:
                        if not self.crash.happened.is_set():
                            raise
                    if not quiet:
                        self._pass()
                    await asyncio.sleep(_FIRST_PAUSE if quiet else pause)
                    pause = min(_GROWTH * pause, _LONGEST_PAUSE)
        except TimeoutError:
            raise AssertionError(f"stuck: {await self._stuck()}") from None
        for task in [task for task in self._pending if task.done()]:
            del self._pending[task]
            _answer(task, failing=self._is_failing)

    async def _stuck(self) -> list[Any]:
        rows = await self.rows()
        return [(r.id, r.status.value, r.waiting, r.segment, self._blocked(r)) for r in rows]

    # --- what must hold

    async def check(self) -> None:
        """Settle and compare, started again where it crashes meanwhile."""
        while True:
            await self.settle()
            rows = await self._rows_or_none()
            try:
                await self._compare()
            except (Overloaded, AssertionError):
                await self.settle()  # what was let go meanwhile may not have written yet
                if rows is not None and rows == await self._rows_or_none():
                    raise
            else:
                return

    async def _rows_or_none(self) -> list[Execution] | None:
        """All executions; nothing where it has crashed."""
        try:
            return await self.rows()
        except Overloaded:
            return None

    async def _compare(self) -> None:
        """Compare what the rooms say of every execution that has changed and does not move."""
        rows = {row.id: row for row in await self.rows()}
        lists = await lists_of(self.api, rows.values())
        for known in self.known:
            row = rows[known.id]
            await self._compare_follower(known, row)
            looks = tuple(_looks(one) for one in rows.values() if one.tree == row.tree)
            if looks != known.seen and not self._blocked(row):
                await agree(self.api, row, known.memory, lists)
                known.seen = looks
        self._compare_runs(rows)
        await self._compare_texts(rows)

    async def _compare_follower(self, known: Known, row: Execution) -> None:
        """A follower gets the log and nothing else, once each, over all crashes."""
        if known.follower is None or known.follower.done():
            known.follower = asyncio.ensure_future(self._follow(known))
        if row.status not in RESTING:
            return
        log = await self.services.executions.log(self._caller, known.id)
        async with asyncio.timeout(BOUND):
            while len(known.heard) < len(log):  # noqa: ASYNC110 - a list, without an event
                await asyncio.sleep(0.001)
        assert _at_first_piece(known.heard) == _at_first_piece(log)

    async def _follow(self, known: Known) -> None:
        after = known.heard[-1].cursor if known.heard else START
        async for entries in self.services.executions.follow(self._caller, known.id, after):
            known.heard.extend(entries)

    def _compare_runs(self, rows: dict[str, Execution]) -> None:
        """A destructive tool's second effect, and an asking tool's first, was decided."""
        assert not self.tools.wrong, self.tools.wrong
        runs: dict[str, int] = {}
        for run in self.tools.runs:
            words = self.tools.said[runs.get(run.call_id, 0) : run.said]
            spoken = {what for of, what in words if of == run.call_id}
            if run.name in ASKING:
                assert APPROVED in spoken, run
            elif run.name in DESTRUCTIVE and run.call_id in runs:
                assert spoken, run
            runs[run.call_id] = run.said
        for known in self.known:
            started = known.memory.started
            for run in self.tools.runs if rows[known.id].status in RESTING else ():
                assert run.arguments in started.get(run.call_id, [run.arguments])

    async def _compare_texts(self, rows: dict[str, Execution]) -> None:
        """Superseded text stays away: from the conversation, and from what a model reads."""
        for plot, pieces in self.model.read:
            assert not pieces & self._gone, plot
        self.model.read.clear()
        moving = {one.plot for one in self.known if rows[one.id].status not in RESTING}
        found: dict[str, set[str]] = defaultdict(set)
        for known in self.known:  # a code agent that repeats a call repeats the plot
            row = rows[known.id]
            if not known.plot or known.plot in moving:
                continue
            steps = await self.api.core.store.executions.steps(self._caller.workspace_id, known.id)
            stand = pieces_of(step.message for step in steps if isinstance(step, ModelStep))
            replaced = row.superseded and row.parent_id is not None
            found[known.plot].update(() if replaced else stand)
        for plot, stand in found.items():
            assert not stand & self._gone
            assert stand <= self.model.said[plot]
            self._gone |= self.model.said[plot] - stand


def _at_first_piece(entries: Iterable[Entry]) -> list[Entry]:
    """Entries with text at the time of its part's first piece, as the end of a step writes it."""
    found: list[Entry] = []
    for entry in entries:
        last = found[-1] if found else entry
        match last.event, entry.event:
            case (TextAdded(step=step, part=part), TextAdded(step=same, part=too)) | (
                ThinkingAdded(step=step, part=part),
                ThinkingAdded(step=same, part=too),
            ) if (last.segment, step, part) == (entry.segment, same, too):
                found.append(replace(entry, at=last.at))
            case _:
                found.append(entry)
    return found


def _looks(row: Execution) -> tuple[Any, ...]:
    return row.id, row.updated_at, row.status, row.waiting, row.segment, row.pause_requested


def _answer(task: "asyncio.Task[T]", *, failing: bool) -> T | OutlastError:
    """What it gave, or why it was refused."""
    try:
        return task.result()
    except _REFUSALS as refusal:
        return refusal
    except Overloaded as error:
        if not failing:
            raise
        return error
