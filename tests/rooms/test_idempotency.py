"""The same key and body give the first answer; another body, or a first that still runs, do not."""

import asyncio

import pytest

from tests.support.api import Api, MakeApi, frames
from tests.support.models import FakeModel, by_turn
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
KEY = {"Idempotency-Key": "k-1"}


async def test_a_repeated_request_gets_the_first_answer_and_runs_nothing(make_api: MakeApi) -> None:
    model = FakeModel(by_turn(["Hello"]))
    api = await make_api(model)
    first = await api.execute({"input": "Hi"}, headers=KEY)
    again = await api.execute({"input": "Hi"}, headers=KEY)
    assert again.content == first.content
    assert again.status_code == first.status_code
    assert again.headers["x-execution-id"] == first.headers["x-execution-id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(model.requests) == 1


@pytest.mark.parametrize("body", [{"input": "Hi", "background": True}, None])
async def test_a_repeated_background_request_gets_the_first_202(
    api: Api, body: dict[str, object] | None
) -> None:
    first = await api.execute(body, headers=KEY)
    await api.rested(first.headers["x-execution-id"])
    again = await api.execute(body, headers=KEY)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotency-replayed"] == "true"


async def test_another_body_with_the_same_key_is_422(api: Api) -> None:
    await api.execute({"input": "Hi"}, headers=KEY)
    again = await api.execute({"input": "Ho"}, headers=KEY)
    assert again.status_code == 422
    assert again.json()["error"]["code"] == "idempotency_mismatch"


async def test_a_repeat_while_the_first_still_waits_is_409(make_api: MakeApi) -> None:
    held = asyncio.Event()
    model = FakeModel(by_turn(["Hel", held, "lo"]))
    api = await make_api(model)
    waiting = asyncio.create_task(api.execute({"input": "Hi"}, headers=KEY))
    async with asyncio.timeout(BOUND):
        await model.spoke.wait()
    again = await api.execute({"input": "Hi"}, headers=KEY)
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "request_in_progress"
    held.set()
    first = await waiting
    assert (await api.execute({"input": "Hi"}, headers=KEY)).content == first.content


async def test_a_repeated_stream_streams_the_first_execution(api: Api) -> None:
    first = await api.execute({"input": "Hi", "stream": True}, headers=KEY)
    again = await api.execute({"input": "Hi", "stream": True}, headers=KEY)
    assert again.content == first.content
    assert frames(again.content)
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_cannot_be_kept_is_400(api: Api, key: str) -> None:
    response = await api.execute({"input": "Hi"}, headers={"Idempotency-Key": key})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "Idempotency-Key"
