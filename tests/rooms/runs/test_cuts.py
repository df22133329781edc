"""Chats that answer again or edit: the model reads each message once, the conversation what stands.

The bodies are those of npm `ai`: its `regenerate` sends the messages in front of the answer, its
`sendMessage` with a `messageId` the messages up to the one that was edited.
"""

import asyncio
from typing import Any

import httpx2
import orjson
import pytest

from outlast.agents.port import ModelRequest
from outlast.model.message import AssistantMessage, UserMessage
from tests.engine.world import Actor, Reply
from tests.rooms.conftest import Build
from tests.rooms.house import House
from tests.rooms.runs.desk import PATH, chat, data, desk, post, suspended

pytestmark = pytest.mark.anyio


def echo(request: ModelRequest) -> Reply:
    """Answer what was said last."""
    return [f"to {texts(request)[-1]}"]


def texts(request: ModelRequest) -> list[str]:
    """What the model was sent, its own answers too."""
    return [m.text for m in request.messages if isinstance(m, UserMessage | AssistantMessage)]


@pytest.fixture
def actor() -> Actor:
    return Actor(echo)


@pytest.fixture
async def house(build: Build, actor: Actor) -> House:
    return await build(actor)


def user(id: str, text: str) -> dict[str, Any]:
    return {"id": id, "role": "user", "parts": [{"type": "text", "text": text}]}


def answer(run: str, text: str = "…") -> dict[str, Any]:
    return {"id": run, "role": "assistant", "parts": [{"type": "text", "text": text}]}


async def send(
    house: House,
    *messages: dict[str, Any],
    trigger: str = "submit-message",
    message_id: str | None = None,
    **more: Any,
) -> str:
    """POST what the chat sends; the id of its run."""
    body = {"id": "c1", "messages": messages, "trigger": trigger} | more
    if message_id is not None:
        body["messageId"] = message_id
    response = await post(house, body)
    assert response.status_code == 200, response.text
    assert data(response.content)[-1]["type"] == "finish"
    return str(response.headers["x-execution-id"])


async def talk(house: House, *said: str) -> tuple[list[dict[str, Any]], list[str]]:
    """A chat of these messages, u1, u2, …: the client's list, and the runs."""
    shown: list[dict[str, Any]] = []
    runs: list[str] = []
    for number, text in enumerate(said, 1):
        shown.append(user(f"u{number}", text))
        runs.append(await send(house, *shown))
        shown.append(answer(runs[-1]))
    return shown, runs


async def conversation(house: House, run: str) -> dict[str, Any]:
    of = (await house.get(f"/v1/executions/{run}")).json()["conversationId"]
    found: dict[str, Any] = (await house.get(f"/v1/conversations/{of}")).json()
    return found


async def standing(house: House, run: str) -> list[str]:
    """What the run's conversation says."""
    return [turn["content"] for turn in (await conversation(house, run))["turns"]]


async def superseded(house: House, runs: list[str]) -> list[bool]:
    found = [(await house.get(f"/v1/executions/{run}")).json() for run in runs]
    return [one.get("superseded", False) for one in found]


# --- answer again


@pytest.mark.parametrize("names_it", [False, True])
async def test_the_last_answer_again_reads_its_message_once(
    house: House, actor: Actor, names_it: bool
) -> None:
    shown, runs = await talk(house, "one", "two")
    message_id = runs[1] if names_it else None
    again = await send(house, *shown[:3], trigger="regenerate-message", message_id=message_id)
    assert texts(actor.asked[-1]) == ["one", "to one", "two"]
    assert again not in runs
    assert await standing(house, again) == ["one", "to one", "two", "to two"]
    assert await superseded(house, [*runs, again]) == [False, True, False]


async def test_an_earlier_answer_again_drops_what_came_behind_it(
    house: House, actor: Actor
) -> None:
    shown, runs = await talk(house, "one", "two", "three")
    again = await send(house, *shown[:1], trigger="regenerate-message", message_id=runs[0])
    assert texts(actor.asked[-1]) == ["one"]
    assert await standing(house, again) == ["one", "to one"]
    assert await superseded(house, runs) == [True, True, True]
    found = await conversation(house, again)
    usage = (await house.get(f"/v1/executions/{again}")).json()["usage"]
    assert (found["turnCount"], found["tokenCount"]) == (2, usage["totalTokens"])
    last = await send(house, user("u1", "one"), answer(again), user("u9", "more"))
    assert texts(actor.asked[-1]) == ["one", "to one", "more"]
    assert await standing(house, last) == ["one", "to one", "more", "to more"]


async def test_a_client_that_sends_only_its_newest_message_can_have_it_answered_again(
    house: House, actor: Actor
) -> None:
    _, runs = await talk(house, "one", "two", "three")
    again = await send(house, user("u2", "two"), trigger="regenerate-message", message_id=runs[1])
    assert texts(actor.asked[-1]) == ["one", "to one", "two"]
    assert await standing(house, again) == ["one", "to one", "two", "to two"]


async def test_an_answer_is_asked_for_again_and_again(house: House, actor: Actor) -> None:
    shown, _ = await talk(house, "one", "two")
    runs = [await send(house, *shown[:3], trigger="regenerate-message") for _ in range(3)]
    assert texts(actor.asked[-1]) == ["one", "to one", "two"]
    assert await standing(house, runs[-1]) == ["one", "to one", "two", "to two"]


async def test_a_run_that_waits_for_a_person_is_cancelled_by_the_answer_that_takes_its_place(
    build: Build,
) -> None:
    house = await desk(build)
    first = await suspended(house, chat("c1"))
    body = chat("c1") | {"trigger": "regenerate-message"}
    second = await suspended(house, body)
    assert second != first
    assert (await house.get(f"/v1/executions/{first}")).json()["status"] == "cancelled"
    assert (await house.get("/v1/approvals")).json()["data"][0]["executionId"] == second
    assert len((await house.get("/v1/approvals")).json()["data"]) == 1


async def test_a_run_that_speaks_is_cancelled_by_the_answer_that_takes_its_place(
    build: Build,
) -> None:
    held = asyncio.Event()
    replies: list[Reply] = [["Hel", held, "lo"], ["Again"]]
    said = iter(replies)
    actor = Actor(lambda _: next(said))
    house = await build(actor)
    first = asyncio.create_task(post(house, chat("c1", text="Hi")))
    await actor.spoke.wait()
    again = await post(house, chat("c1", text="Hi") | {"trigger": "regenerate-message"})
    assert data((await first).content)[-2]["type"] == "abort"
    run = again.headers["x-execution-id"]
    assert texts(actor.asked[-1]) == ["Hi"]
    assert await standing(house, run) == ["Hi", "Again"]


# --- edit


async def test_the_last_message_edited_is_read_in_its_place(house: House, actor: Actor) -> None:
    shown, runs = await talk(house, "one", "two")
    edited = await send(house, *shown[:2], user("u2", "deux"), message_id="u2")
    assert texts(actor.asked[-1]) == ["one", "to one", "deux"]
    assert await standing(house, edited) == ["one", "to one", "deux", "to deux"]
    assert await superseded(house, runs) == [False, True]


async def test_an_earlier_message_edited_drops_what_came_behind_it(
    house: House, actor: Actor
) -> None:
    _, runs = await talk(house, "one", "two", "three")
    edited = await send(house, user("u1", "un"), message_id="u1")
    assert texts(actor.asked[-1]) == ["un"]
    assert await standing(house, edited) == ["un", "to un"]
    assert await superseded(house, runs) == [True, True, True]


async def test_an_edit_that_says_the_same_is_answered_again(house: House, actor: Actor) -> None:
    shown, runs = await talk(house, "one", "two")
    edited = await send(house, *shown[:3], message_id="u2")
    assert edited not in runs
    assert texts(actor.asked[-1]) == ["one", "to one", "two"]


async def test_an_edit_is_known_by_its_message_without_more_words(
    house: House, actor: Actor
) -> None:
    shown, _ = await talk(house, "one", "two", "three")
    edited = await send(house, *shown[:2], user("u2", "deux"))
    assert texts(actor.asked[-1]) == ["one", "to one", "deux"]
    assert await standing(house, edited) == ["one", "to one", "deux", "to deux"]


async def test_a_message_from_before_ids_were_kept_is_found_behind_the_last_answer_that_is_left(
    house: House, actor: Actor
) -> None:
    shown, runs = await talk(house, "one", "two", "three")
    unknown = user("renamed", "deux")
    edited = await send(house, *shown[:2], unknown, message_id="renamed")
    assert texts(actor.asked[-1]) == ["one", "to one", "deux"]
    assert await superseded(house, [*runs, edited]) == [False, True, True, False]


# --- what cuts nothing


async def test_a_chat_that_goes_on_cuts_nothing(house: House, actor: Actor) -> None:
    _, runs = await talk(house, "one", "two", "three")
    assert texts(actor.asked[-1]) == ["one", "to one", "two", "to two", "three"]
    assert await superseded(house, runs) == [False, False, False]


async def test_only_the_newest_message_or_a_list_that_lacks_turns_cuts_nothing(
    house: House, actor: Actor
) -> None:
    shown, runs = await talk(house, "one", "two")
    await send(house, user("u7", "only me"))
    assert texts(actor.asked[-1]) == ["one", "to one", "two", "to two", "only me"]
    await send(house, *shown[:2], user("u8", "from another page"))
    assert texts(actor.asked[-1])[-3:] == ["only me", "to only me", "from another page"]
    assert await superseded(house, runs) == [False, False]


async def test_the_same_request_again_is_answered_with_the_same_run(
    house: House, actor: Actor
) -> None:
    body = {"id": "c1", "messages": [user("u1", "one")], "trigger": "submit-message"}
    first, again = await post(house, body), await post(house, body)
    assert again.headers["x-execution-id"] == first.headers["x-execution-id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.content, len(actor.asked)) == (first.content, 1)


async def test_an_edit_sent_again_under_its_idempotency_key_cuts_once(
    house: House, actor: Actor
) -> None:
    shown, _ = await talk(house, "one", "two")
    body = {"id": "c1", "messages": shown[:3], "trigger": "regenerate-message"}
    once = {"Idempotency-Key": "once"}
    runs = [(await post(house, body, headers=once)).headers["x-execution-id"] for _ in range(3)]
    assert len(set(runs)) == 1
    assert len(actor.asked) == 3
    assert await superseded(house, runs[:1]) == [False]


async def test_clients_without_a_trigger_cut_nothing(house: House, actor: Actor) -> None:
    _, runs = await talk(house, "one")
    of = (await conversation(house, runs[0]))["id"]
    for _ in range(2):
        said = {"id": "u1", "role": "user", "content": "one"}
        await post(house, {"messages": [said], "conversationId": of})
    assert texts(actor.asked[-1]) == ["one", "to one"] * 2 + ["one"]


async def test_a_message_id_that_is_too_long_to_be_kept_is_no_id(
    house: House, actor: Actor
) -> None:
    long = "u" * 257
    await send(house, user(long, "one"))
    await send(house, user(long, "two"))
    assert texts(actor.asked[-1]) == ["one", "to one", "two"]


async def test_another_conversation_s_messages_have_ids_of_their_own(
    house: House, actor: Actor
) -> None:
    _, runs = await talk(house, "one")
    await send(house, user("u1", "other"), message_id="u1", id="c2")
    assert texts(actor.asked[-1]) == ["other"]
    assert await superseded(house, runs) == [False]


# --- the other rooms


async def test_what_was_cut_is_still_there_by_its_id_and_in_every_list(house: House) -> None:
    shown, runs = await talk(house, "one", "two")
    again = await send(house, *shown[:3], trigger="regenerate-message")
    listed = (await house.get("/v1/executions")).json()["data"]
    assert {one["id"]: one.get("superseded", False) for one in listed} == {
        runs[0]: False,
        runs[1]: True,
        again: False,
    }
    assert all(one["creditsUsed"] > 0 for one in listed)
    records = (await house.get("/api/v1/executions")).json()
    assert len(records) == 3
    assert (await house.get(f"{PATH}/{runs[1]}/stream")).status_code == 200


async def test_an_execution_replaces_another_s_turn_in_the_main_room(
    house: House, actor: Actor
) -> None:
    first = (await house.execute({"input": "one"})).json()
    second = (
        await house.execute({"input": "two", "conversationId": first["conversationId"]})
    ).json()
    better = (await house.execute({"input": "deux", "replaces": second["id"]})).json()
    assert better["conversationId"] == first["conversationId"]
    assert texts(actor.asked[-1]) == ["one", "to one", "deux"]
    assert await standing(house, better["id"]) == ["one", "to one", "deux", "to deux"]
    assert await superseded(house, [first["id"], second["id"]]) == [False, True]
    again = await _refused(house, second["id"])
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")


@pytest.mark.parametrize("replaced", ["nonsense", "exec_01k6zj3t7hf2a9q1x5m8r4c0vb"])
async def test_what_is_not_there_cannot_be_replaced(house: House, replaced: str) -> None:
    refused = await _refused(house, replaced)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (
        404,
        "execution_not_found",
        "replaces",
    )


async def test_a_turn_of_another_conversation_cannot_be_replaced(house: House) -> None:
    one = (await house.execute({"input": "one"})).json()
    other = (await house.execute({"input": "other"})).json()
    refused = await _refused(house, one["id"], conversationId=other["conversationId"])
    assert (refused.status_code, refused.json()["error"]["param"]) == (404, "replaces")
    assert await superseded(house, [one["id"], other["id"]]) == [False, False]


async def _refused(house: House, replaced: str, **more: Any) -> httpx2.Response:
    return await house.execute({"input": "x", "replaces": replaced, **more})


# --- metadata


async def test_a_run_keeps_its_metadata(house: House) -> None:
    run = await send(house, user("u1", "one"), metadata={"source": "web", "n": [1]})
    kept = (await house.get(f"/v1/executions/{run}")).json()["metadata"]
    assert kept == {"source": "web", "n": [1]}
    plain = await post(house, {"messages": [{"role": "user", "content": "Hi"}], "metadata": {}})
    assert plain.status_code == 200
    wrong = orjson.dumps({"messages": [user("u1", "one")], "metadata": "text"})
    assert (await house.client.post(PATH, content=wrong)).status_code == 422
