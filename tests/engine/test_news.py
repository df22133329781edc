"""A worker fetches what it has heard of, and looks where it may have missed something."""

import asyncio

import pytest

from outlast.engine.dispatch.procrastinate.news import News

pytestmark = pytest.mark.anyio


def emptied() -> News:
    news = News()
    news.fetch()
    news.fetched(found=False)
    return news


def test_the_queue_is_looked_at_until_it_is_empty_once_it_was_not_seen() -> None:
    news = News()
    for _ in range(3):
        news.fetch()
        news.fetched(found=True)
        assert news.pending
    news.fetch()
    news.fetched(found=False)
    assert not news.pending


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_job_that_was_announced_is_fetched_once_and_none_is_looked_for_behind_it(
    jobs: int,
) -> None:
    news = emptied()
    for _ in range(jobs):
        news.job()
    for _ in range(jobs):
        assert news.pending
        news.fetch()
        news.fetched(found=True)
    assert not news.pending


@pytest.mark.parametrize("found", [True, False])
def test_what_is_announced_while_a_fetch_is_under_way_is_fetched_behind_it(found: bool) -> None:
    news = emptied()
    news.job()
    news.fetch()
    news.job()
    news.fetched(found=found)
    assert news.pending
    news.fetch()
    news.fetched(found=False)
    assert not news.pending


async def test_without_news_the_queue_is_looked_at_after_a_while() -> None:
    news = emptied()
    news.begin()
    await news.wait(0.01)
    assert news.pending


@pytest.mark.parametrize("what", ["job", "look"])
async def test_news_end_the_wait(what: str) -> None:
    news = emptied()
    news.begin()
    waiting = asyncio.ensure_future(news.wait(30))
    await asyncio.sleep(0)
    getattr(news, what)()
    async with asyncio.timeout(10):
        await waiting
    assert news.pending
