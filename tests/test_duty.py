"""Work beside requests goes on whatever it raises, and every failure is counted."""

import asyncio

import pytest

from outlast.duty import Duty, Failures
from outlast.model.error import Overloaded
from outlast.testing import FakeClock
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


class Work:
    """Raises what it is given, one after the other, then nothing."""

    def __init__(self, *raised: BaseException) -> None:
        self._raised = list(raised)
        self.runs = 0

    async def __call__(self) -> None:
        self.runs += 1
        if self._raised:
            raise self._raised.pop(0)


async def cancelled_inside() -> None:
    """Wait for something that is cancelled from outside."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("no error of ours"),
        Overloaded(),
        KeyError("x"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        SystemExit(1),
        GeneratorExit(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_duty_goes_on_after_any_error(error: BaseException) -> None:
    clock, failures, work = FakeClock(), Failures(), Work(error)
    duty = Duty("count", work, every=1, sleep=clock.sleep, failures=failures)
    duty.start()
    async with asyncio.timeout(BOUND):
        while work.runs < 3:
            clock.advance(1)
            await asyncio.to_thread(int)
        await duty.stop()
    assert failures.counts == {"count": 1}


async def test_a_duty_that_fails_again_and_again_waits_longer_each_time() -> None:
    failures = Failures()
    work = Work(*(RuntimeError() for _ in range(4)))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 6:
            await asyncio.Event().wait()

    duty = Duty("d", work, every=1, sleep=sleep, failures=failures, retry=(2, 4, 8))
    duty.start()
    async with asyncio.timeout(BOUND):
        while len(slept) <= 6:
            await asyncio.to_thread(int)
        await duty.stop()
    assert slept == [1, 2, 4, 8, 8, 1, 1]


async def test_a_duty_is_stopped_in_the_middle_of_a_run() -> None:
    began, failures = asyncio.Event(), Failures()

    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    duty = Duty("d", work, every=1, sleep=FakeClock().sleep, failures=failures, first=0.0)
    duty.start()
    async with asyncio.timeout(BOUND):
        await began.wait()
        await duty.stop()
    assert not duty.running
    assert not failures.counts


async def test_what_a_duty_waits_for_may_be_cancelled_without_ending_it() -> None:
    clock, failures = FakeClock(), Failures()
    duty = Duty("d", cancelled_inside, every=1, sleep=clock.sleep, failures=failures)
    duty.start()
    async with asyncio.timeout(BOUND):
        await clock.sleeper()
        clock.advance(1)
        await clock.sleeper()
        assert duty.running
        await duty.stop()
    assert failures.counts["d"] == 1


async def test_the_error_of_a_task_that_has_no_caller_is_counted() -> None:
    failures = Failures()

    async def work() -> None:
        raise ValueError

    task = failures.spawn(work(), "send")
    assert task.get_name() == "send"
    await asyncio.wait({task})
    await asyncio.to_thread(int)
    assert failures.counts == {"send": 1}
