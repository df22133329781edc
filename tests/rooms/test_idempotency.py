"""The same key and body give the first answer; another body, or a first that still runs, do not."""

import asyncio

import pytest

from tests.engine.world import Actor, by_turn
from tests.rooms.conftest import Build
from tests.rooms.house import BOUND, House, frames

pytestmark = pytest.mark.anyio
KEY = {"Idempotency-Key": "k-1"}


async def test_a_repeated_request_gets_the_first_answer_and_runs_nothing(build: Build) -> None:
    actor = Actor(by_turn(["Hello"]))
    house = await build(actor)
    first = await house.execute({"input": "Hi"}, headers=KEY)
    again = await house.execute({"input": "Hi"}, headers=KEY)
    assert again.content == first.content
    assert again.status_code == first.status_code
    assert again.headers["x-execution-id"] == first.headers["x-execution-id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(actor.asked) == 1


@pytest.mark.parametrize("body", [{"input": "Hi", "background": True}, None])
async def test_a_repeated_background_request_gets_the_first_202(
    house: House, body: dict[str, object] | None
) -> None:
    first = await house.execute(body, headers=KEY)
    await house.rested(first.headers["x-execution-id"])
    again = await house.execute(body, headers=KEY)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotency-replayed"] == "true"


async def test_another_body_with_the_same_key_is_422(house: House) -> None:
    await house.execute({"input": "Hi"}, headers=KEY)
    again = await house.execute({"input": "Ho"}, headers=KEY)
    assert again.status_code == 422
    assert again.json()["error"]["code"] == "idempotency_mismatch"


async def test_a_repeat_while_the_first_still_waits_is_409(build: Build) -> None:
    held = asyncio.Event()
    actor = Actor(by_turn(["Hel", held, "lo"]))
    house = await build(actor)
    waiting = asyncio.create_task(house.execute({"input": "Hi"}, headers=KEY))
    async with asyncio.timeout(BOUND):
        await actor.spoke.wait()
    again = await house.execute({"input": "Hi"}, headers=KEY)
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "request_in_progress"
    held.set()
    first = await waiting
    assert (await house.execute({"input": "Hi"}, headers=KEY)).content == first.content


async def test_a_repeated_stream_streams_the_first_execution(house: House) -> None:
    first = await house.execute({"input": "Hi", "stream": True}, headers=KEY)
    again = await house.execute({"input": "Hi", "stream": True}, headers=KEY)
    assert again.content == first.content
    assert frames(again.content)
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_cannot_be_kept_is_400(house: House, key: str) -> None:
    response = await house.execute({"input": "Hi"}, headers={"Idempotency-Key": key})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "Idempotency-Key"
