"""Pause, resume, roll back, cancel, crash, approve and answer agree, in any sequence of moves.

A state machine of Hypothesis makes every move that there is on the executions of one server, which
crashes now and then, and compares after each move whatever the rooms say (see `agreement`). In the
end everything is decided and resumed, and must end.

The same examples are run every time. `OUTLAST_STATES_SECONDS=600` looks for new ones, on each
database for so long, with longer sequences.
"""

import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from outlast.store.schema import metadata
from tests.support.databases import POSTGRESQL, SQLITE, Another, Database
from tests.support.state_machine.moves import Moves
from tests.support.state_machine.plots import Called, Reply, read, written
from tests.support.state_machine.server import CrashingServer
from tests.support.state_machine.tools import BY_CLIENT, HELPERS, NAMES, NEEDING, WORK

T = TypeVar("T")
SECONDS = float(os.environ.get("OUTLAST_STATES_SECONDS", "0"))

DEPTH = 3
"""How deep agents call each other; a root has 0."""

index = st.integers(0, 23)
flag = st.booleans()
often = ["wipe", "pay", "wipe", *sorted(BY_CLIENT), *sorted(NEEDING), WORK.name]
called = st.builds(Called, st.sampled_from([*NAMES, *often]), flag)


def plots(depth: int) -> st.SearchStrategy[list[Reply]]:
    """Plots of an execution at this depth; its calls of agents have plots of their own."""
    calls = called
    if depth < DEPTH:
        helpers = st.builds(Called, st.sampled_from(HELPERS), replies=plots(depth + 1).map(tuple))
        calls = st.one_of(called, helpers)
    return st.lists(
        st.builds(
            Reply,
            pieces=st.integers(0, 2),
            gated=st.sampled_from([False, False, True]),
            fails=st.sampled_from([False] * 5 + [True]),
            calls=st.lists(calls, max_size=3 if depth == 0 else 2).map(tuple),
        ),
        max_size=4 if depth == 0 else 2,
    )


@st.composite
def copies(draw: st.DrawFn) -> list[Reply]:
    """Plots of a root, which a failure prints as they are: how they were drawn takes it minutes."""
    return read(written("", draw(plots(0))))[1]


replies = copies()


class Machine(RuleBasedStateMachine):
    """One server, and the event loop that it runs on."""

    fresh: Callable[[], Database]

    def __init__(self) -> None:
        super().__init__()
        self._loop = uvloop.new_event_loop()
        self.server = CrashingServer(type(self).fresh())
        self.moves = Moves(self.server)
        self._run(self.server.open())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def _move(self, work: Coroutine[Any, Any, Any]) -> None:
        async def moved() -> None:
            await work
            await self.server.check()

        self._run(moved())

    @initialize(plot=replies, coded=flag)
    def begin(self, plot: list[Reply], *, coded: bool) -> None:
        self._move(self.moves.start(plot, coded=coded))

    @rule(plot=replies, coded=flag)
    def start(self, plot: list[Reply], *, coded: bool) -> None:
        self._move(self.moves.start(plot, coded=coded))

    @rule(plot=replies, which=index, interrupts=flag)
    def go_on(self, plot: list[Reply], which: int, *, interrupts: bool) -> None:
        self._move(self.moves.go_on(plot, which, interrupts=interrupts))

    @rule(plot=replies, pauses=flag)
    def employ(self, plot: list[Reply], *, pauses: bool) -> None:
        self._move(self.moves.employ(plot, pauses=pauses))

    @rule(which=index)
    def let_go(self, which: int) -> None:
        self._move(self.moves.let_go(which))

    @rule(which=index, now=flag)
    def pause(self, which: int, *, now: bool) -> None:
        self._move(self.moves.pause(which, now=now))

    @rule(which=index)
    def resume(self, which: int) -> None:
        self._move(self.moves.resume(which))

    @rule(which=index, place=index)
    def roll_back(self, which: int, place: int) -> None:
        self._move(self.moves.roll_back(which, place))

    @rule(which=index, how=st.sampled_from(["approve", "deny", "edit", "tell"]))
    def decide(self, which: int, how: str) -> None:
        self._move(self.moves.decide(which, how))

    @rule(which=index)
    def decide_twice(self, which: int) -> None:
        self._move(self.moves.decide_twice(which))

    @rule(which=index, how=st.sampled_from(["result", "error"]))
    def answer(self, which: int, how: str) -> None:
        self._move(self.moves.answer(which, how))

    @rule(which=index)
    def answer_late(self, which: int) -> None:
        self._move(self.moves.answer_late(which))

    @rule(which=index)
    def cancel(self, which: int) -> None:
        self._move(self.moves.cancel(which))

    @rule(which=index)
    def delete(self, which: int) -> None:
        self._move(self.moves.delete(which))

    @rule(which=index, moves=st.lists(st.integers(0, 7), min_size=2, max_size=3), place=index)
    def race(self, which: int, moves: list[int], place: int) -> None:
        self._move(self.moves.race(which, moves, place))

    @rule(seconds=st.sampled_from([1, 30, 61, 601, 90_000]))
    def wait(self, seconds: int) -> None:
        self._move(self.moves.wait(seconds))

    @rule(writes=st.integers(0, 12), commits_last=flag)
    def crash(self, writes: int, *, commits_last: bool) -> None:
        self.server.crash.after(writes, commits_last=commits_last)

    @rule(writes=st.integers(0, 6))
    def a_write_fails(self, writes: int) -> None:
        self.server.crash.fail_after(writes)

    @rule(open_gates=flag)
    def restart(self, *, open_gates: bool) -> None:
        self._move(self.moves.restart(open_gates=open_gates))

    @rule(move=st.integers(0, 3), which=index)
    def drive(self, move: int, which: int) -> None:
        self._move(self.moves.drive(move, which))

    def teardown(self) -> None:
        try:
            self._run(self.moves.end())
        finally:
            self._run(self.server.close())
            self._run(self._loop.shutdown_default_executor())
            self._loop.close()


def freshly(another: Another) -> Callable[[], Database]:
    """Makes an empty database for every example: a new file, or always the same tables, emptied."""
    last: list[Database] = []

    def fresh() -> Database:
        if last and last[0].kind == POSTGRESQL:
            last[0].rows(f"TRUNCATE {', '.join(_TABLES)} CASCADE")
            return last[0]
        if last:
            for file in Path(last[0].url.removeprefix("sqlite:///")).parent.glob("outlast*.db*"):
                file.unlink()
        last[:] = [another()]
        return last[0]

    return fresh


_TABLES = [
    *(table.name for table in metadata.sorted_tables if table.name != "compatibility"),
    *(f"procrastinate_{name}" for name in ("jobs", "events", "workers")),
]


def examples(kind: str) -> settings:
    """The same ones every time: as many as take half a minute; or new and longer ones."""
    bounds: dict[str, Any] = {
        "max_examples": 10 if kind == SQLITE else 3,
        "stateful_step_count": 30,
        "derandomize": True,
        "phases": (Phase.explicit, Phase.generate),  # to make a failure smaller takes minutes
    }
    if SECONDS:
        bounds = {"max_examples": 20, "stateful_step_count": 60}
    return settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), **bounds)


def test_any_sequence_of_moves_agrees_and_ends(another_database: Another) -> None:
    fresh = freshly(another_database)
    machine = type("Machine", (Machine,), {"fresh": staticmethod(fresh)})
    kind, until = fresh().kind, time.monotonic() + SECONDS
    while True:
        run_state_machine_as_test(machine, settings=examples(kind))
        if time.monotonic() >= until:
            return
