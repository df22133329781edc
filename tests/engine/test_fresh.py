"""Keys and agents: read once a second, however many requests want them at once."""

import asyncio
from collections import Counter

import pytest

from outlast.model.error import NotFound
from outlast.services.fresh import Fresh
from outlast.testing import FakeClock

pytestmark = pytest.mark.anyio
BOUND = 10.0


class Source:
    """Answers when it may; counts how often it was read."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.fresh: Fresh[str, str] = Fresh(self.clock, 1.0, 2)
        self.may = asyncio.Event()
        self.may.set()
        self.reads: Counter[str] = Counter()
        self.fails = False

    async def get(self, name: str = "a") -> str:
        async def read() -> str:
            self.reads[name] += 1
            value = f"{name}{self.reads[name]}"
            await self.may.wait()
            if self.fails:
                raise NotFound(value)
            return value

        async with asyncio.timeout(BOUND):
            return await self.fresh.get(name, read)

    def many(self, count: int) -> list[asyncio.Task[str]]:
        return [asyncio.ensure_future(self.get()) for _ in range(count)]


async def test_a_value_is_read_once_by_all_who_want_it_at_once_and_again_a_second_later() -> None:
    source = Source()
    source.may.clear()
    waiting = source.many(50)
    await asyncio.sleep(0)
    source.may.set()
    assert set(await asyncio.gather(*waiting)) == {"a1"}
    source.clock.advance(0.999)
    assert await source.get() == "a1"
    source.clock.advance(0.001)
    assert await source.get() == "a2"


async def test_a_read_that_began_a_second_ago_is_not_joined() -> None:
    source = Source()
    source.may.clear()
    first = source.many(2)
    await asyncio.sleep(0)
    source.clock.advance(1)
    second = source.many(2)
    await asyncio.sleep(0)
    source.may.set()
    assert await asyncio.gather(*first, *second) == ["a1", "a1", "a2", "a2"]
    assert await source.get() == "a2"


async def test_what_is_forgotten_while_it_is_read_is_not_remembered() -> None:
    """A key that is revoked here opens nothing from then on, though a read had begun before."""
    source = Source()
    source.may.clear()
    (first,) = source.many(1)
    await asyncio.sleep(0)
    source.fresh.forget()
    second = source.many(3)
    await asyncio.sleep(0)
    source.may.set()
    assert await first == "a1"
    assert set(await asyncio.gather(*second)) == {"a2"}
    assert await source.get() == "a2"


async def test_an_error_is_raised_by_all_who_wait_and_not_remembered() -> None:
    source = Source()
    source.may.clear()
    source.fails = True
    waiting = source.many(3)
    await asyncio.sleep(0)
    source.may.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(error) for error in found] == ["a1"] * 3
    assert all(isinstance(error, NotFound) for error in found)
    source.fails = False
    assert await source.get() == "a2"


@pytest.mark.parametrize("cancelled", [[0], [1], [0, 1], [0, 1, 2]])
async def test_whoever_is_cancelled_leaves_the_read_to_the_others(cancelled: list[int]) -> None:
    source = Source()
    source.may.clear()
    waiting = source.many(4)
    await asyncio.sleep(0)
    for number in cancelled:
        waiting[number].cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    source.may.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    for number, value in enumerate(found):
        assert isinstance(value, asyncio.CancelledError) == (number in cancelled)
    assert source.reads["a"] == (2 if 0 in cancelled else 1)


async def test_no_more_than_so_many_are_remembered() -> None:
    source = Source()
    for name in "abcab":
        await source.get(name)
    assert len(source.fresh._known) <= 2
