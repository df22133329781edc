"""Duties of maintenance: only where this process leads, batch after batch, whatever they raise."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from outlast.duty import Failures
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.engine.maintenance.leader import Leadership, SoleProcess
from outlast.engine.maintenance.runner import MaintenanceRunner
from outlast.model.error import Overloaded
from outlast.testing import FakeClock
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio


class Switched:
    """Leads as a test says."""

    alone = False

    def __init__(self, leads: bool = False) -> None:
        self._leads = asyncio.Event()
        if leads:
            self._leads.set()

    @property
    def leads(self) -> bool:
        return self._leads.is_set()

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self._leads.clear()

    async def elected(self) -> None:
        await self._leads.wait()

    def released(self) -> None: ...

    def lead(self, leads: bool) -> None:
        self._leads.set() if leads else self._leads.clear()


class Batches:
    """Answers with these counts, or raises them, then with 0."""

    def __init__(self, *answers: int | BaseException) -> None:
        self._answers = list(answers)
        self.limits: list[int] = []

    async def __call__(self, limit: int) -> int:
        self.limits.append(limit)
        answer = self._answers.pop(0) if self._answers else 0
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _is(work: Batches, runs: int) -> bool:
    return len(work.limits) == runs


class Desk:
    """A runner with a fake clock."""

    def __init__(self, leadership: Leadership, *duties: MaintenanceDuty) -> None:
        self.clock, self.failures = FakeClock(), Failures()
        self.ran: list[tuple[str, int]] = []
        self.runner = MaintenanceRunner(
            duties,
            leadership,
            self.clock,
            self.failures,
            lambda name, _, at: self.ran.append((name, at)),
        )

    async def until(self, condition: Callable[[], bool], step: float = 0.0) -> None:
        async with asyncio.timeout(BOUND):
            while not condition():
                self.clock.advance(step)
                await between_looks()

    async def turns(self, number: int = 20, step: float = 0.0) -> None:
        """Let time pass."""
        for _ in range(number):
            self.clock.advance(step)
            await between_looks()


@asynccontextmanager
async def running(desk: Desk) -> AsyncIterator[Desk]:
    await desk.runner.start()
    try:
        yield desk
    finally:
        await desk.runner.stop()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(),
        Overloaded(),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        BaseExceptionGroup("two", [KeyboardInterrupt(), ValueError()]),
        BaseException("bare"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_duty_goes_on_after_an_error_of_any_class(error: BaseException) -> None:
    work, other = Batches(error), Batches()
    desk = Desk(
        SoleProcess(),
        MaintenanceDuty("poison", 1, 10, work),
        MaintenanceDuty("other", 1, 10, other),
    )
    async with running(desk):
        await desk.until(lambda: len(work.limits) > 3 and len(other.limits) > 3, 0.5)
    assert desk.failures.counts == {"poison": 1}
    assert [name for name, _ in desk.ran].count("poison") == len(work.limits) - 1


async def test_a_loop_whose_own_sleep_fails_is_begun_again() -> None:
    clock, work = FakeClock(), Batches()
    failed: list[float] = []

    async def odd(seconds: float) -> None:
        if not failed:
            failed.append(seconds)
            raise RuntimeError
        await clock.sleep(seconds)

    desk = Desk(SoleProcess(), MaintenanceDuty("d", 1, 10, work, odd))
    async with running(desk):
        async with asyncio.timeout(BOUND):
            while len(work.limits) < 3:
                clock.advance(0.5)
                await between_looks()
    assert desk.failures.counts == {"d": 1}


@pytest.mark.parametrize(
    ("answers", "runs"), [((10, 10, 3), 3), ((9,), 1), ((0,), 1), ((11, 10, 0), 3)]
)
async def test_a_full_batch_is_followed_by_the_next_at_once(
    answers: tuple[int, ...], runs: int
) -> None:
    work = Batches(*answers)
    desk = Desk(SoleProcess(), MaintenanceDuty("d", 60, 10, work))
    async with running(desk):
        await desk.turns()
        assert not work.limits
        desk.clock.advance(60)
        await desk.until(lambda: len(work.limits) == runs)
        await desk.turns()
        assert work.limits == [10] * runs


async def test_all_that_is_due_is_done_by_run_whoever_leads() -> None:
    work = Batches(10, 10, 4)
    desk = Desk(Switched(), MaintenanceDuty("d", 60, 10, work))
    assert await desk.runner.run("d") == 24
    assert await desk.runner.run("d") == 0


async def test_jitter_makes_no_run_later_than_its_interval() -> None:
    work = Batches()
    desk = Desk(SoleProcess(), MaintenanceDuty("d", 10, 10, work))
    async with running(desk):
        await desk.turns()
        desk.clock.advance(1)
        await desk.until(partial(_is, work, 1))
        for number in range(2, 6):
            await desk.turns()
            assert len(work.limits) == number - 1
            desk.clock.advance(8.9)
            await desk.turns()
            assert len(work.limits) == number - 1
            desk.clock.advance(1.1)
            await desk.until(partial(_is, work, number))


async def test_duties_of_a_process_that_leads_alone_run_together() -> None:
    late = [0.3]

    async def slow(_: int) -> int:
        await desk.clock.sleep(late.pop() if late else 0)
        return 0

    desk = Desk(
        SoleProcess(), MaintenanceDuty("a", 1, 10, Batches()), MaintenanceDuty("b", 1, 10, slow)
    )
    async with running(desk):
        await desk.turns(400, step=0.02)
    times = {name: [at for one, at in desk.ran if one == name] for name in "ab"}
    assert times["a"][0] != times["b"][0]
    assert times["a"][-3:] == times["b"][-3:]


async def test_the_first_run_is_within_a_second_of_the_start_and_the_next_after_the_interval() -> (
    None
):
    work = Batches()
    desk = Desk(SoleProcess(), MaintenanceDuty("d", 60, 10, work))
    async with running(desk):
        await desk.turns()
        assert not work.limits
        desk.clock.advance(1)
        await desk.until(partial(_is, work, 1))
        await desk.turns(step=1)
        assert len(work.limits) == 1
        await desk.until(partial(_is, work, 2), 10)


async def test_a_process_that_does_not_lead_runs_nothing_and_begins_once_it_does() -> None:
    leadership, work = Switched(), Batches()
    desk = Desk(leadership, MaintenanceDuty("d", 60, 10, work))
    async with running(desk):
        await desk.turns(step=30)
        assert not work.limits
        leadership.lead(True)
        await desk.until(lambda: len(work.limits) == 1)
        leadership.lead(False)
        await desk.turns(step=30)
        assert len(work.limits) == 1


async def test_full_batches_end_with_leadership() -> None:
    leadership = Switched(leads=True)
    runs = 0

    async def work(limit: int) -> int:
        nonlocal runs
        runs += 1
        if runs == 5:
            leadership.lead(False)
        return limit

    desk = Desk(leadership, MaintenanceDuty("d", 1, 10, work))
    async with running(desk):
        await desk.until(lambda: runs == 5, 1)
        await desk.turns(step=1)
        assert runs == 5


async def test_a_stop_ends_a_batch_in_its_middle() -> None:
    began = asyncio.Event()

    async def work(_: int) -> int:
        began.set()
        await asyncio.Event().wait()
        return 0

    desk = Desk(SoleProcess(), MaintenanceDuty("d", 1, 10, work))
    async with asyncio.timeout(BOUND), running(desk):
        await desk.until(began.is_set, 1)
    assert not desk.failures.counts


async def test_a_duty_may_bring_a_time_of_its_own() -> None:
    own, work = FakeClock(), Batches()
    desk = Desk(SoleProcess(), MaintenanceDuty("d", 10, 10, work, own.sleep))
    async with running(desk):
        await desk.turns(step=60)
        assert not work.limits
        own.advance(10)
        await desk.until(partial(_is, work, 1))
