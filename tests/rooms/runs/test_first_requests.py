"""First requests of a new chat that come at the same time make one conversation."""

import asyncio
from typing import Any

import pytest

from tests.rooms.runs.test_cuts import api, model, user
from tests.support.api import Api
from tests.support.runs_room import post

__all__ = ["api", "model"]
pytestmark = pytest.mark.anyio


async def conversations(api: Api, answers: list[Any]) -> list[str]:
    runs = [answer.headers["x-execution-id"] for answer in answers]
    found = [(await api.get(f"/v1/executions/{run}")).json() for run in runs]
    return [one["conversationId"] for one in found]


@pytest.mark.parametrize("times", [2, 7])
async def test_the_same_first_message_of_a_chat_at_once_is_one_run(api: Api, times: int) -> None:
    body = {"id": "new", "messages": [user("u1", "one")], "trigger": "submit-message"}
    answers = await asyncio.gather(*(post(api, body) for _ in range(times)))
    assert [answer.status_code for answer in answers] == [200] * times
    assert len(set(await conversations(api, answers))) == 1
    assert len({answer.headers["x-execution-id"] for answer in answers}) == 1
    assert len((await api.get("/v1/conversations")).json()["data"]) == 1


async def test_two_first_messages_of_a_chat_at_once_are_turns_of_one_conversation(
    api: Api,
) -> None:
    bodies = [
        {"id": "new", "messages": [user(f"u{n}", f"say {n}")], "trigger": "submit-message"}
        for n in range(3)
    ]
    answers = await asyncio.gather(*(post(api, body) for body in bodies))
    assert len(set(await conversations(api, answers))) == 1
    assert len({answer.headers["x-execution-id"] for answer in answers}) == 3


async def test_first_requests_in_the_plain_format_share_their_chats_conversation(
    api: Api,
) -> None:
    body = {"id": "new", "messages": [{"role": "user", "content": "one"}]}
    answers = await asyncio.gather(*(post(api, body) for _ in range(3)))
    assert len(set(await conversations(api, answers))) == 1


async def test_other_chats_at_once_have_conversations_of_their_own(api: Api) -> None:
    bodies = [{"id": f"c{n}", "messages": [user("u1", "one")]} for n in range(4)]
    answers = await asyncio.gather(*(post(api, body) for body in bodies))
    assert len(set(await conversations(api, answers))) == 4


async def test_a_chat_whose_conversation_was_deleted_begins_anew(api: Api) -> None:
    body = {"id": "new", "messages": [user("u1", "one")], "trigger": "submit-message"}
    (first,) = await conversations(api, [await post(api, body)])
    assert (await api.client.delete(f"/v1/conversations/{first}")).status_code == 204
    answers = await asyncio.gather(*(post(api, body) for _ in range(2)))
    (again,) = set(await conversations(api, answers))
    assert again != first
