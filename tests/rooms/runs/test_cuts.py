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
from tests.support.api import Api, MakeApi
from tests.support.models import FakeModel, Reply
from tests.support.runs_room import PATH, chat, data, make_refund_api, post, suspended

pytestmark = pytest.mark.anyio


def echo(request: ModelRequest) -> Reply:
    """Answer what was said last."""
    return [f"to {texts(request)[-1]}"]


def texts(request: ModelRequest) -> list[str]:
    """What the model was sent, its own answers too."""
    return [m.text for m in request.messages if isinstance(m, UserMessage | AssistantMessage)]


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(echo)


@pytest.fixture
async def api(share_api: MakeApi, model: FakeModel) -> Api:
    return await share_api(model)


def user(id: str, text: str) -> dict[str, Any]:
    return {"id": id, "role": "user", "parts": [{"type": "text", "text": text}]}


def answer(run: str, text: str = "…") -> dict[str, Any]:
    return {"id": run, "role": "assistant", "parts": [{"type": "text", "text": text}]}


async def send(
    api: Api,
    *messages: dict[str, Any],
    trigger: str = "submit-message",
    message_id: str | None = None,
    **more: Any,
) -> str:
    """POST what the chat sends; the id of its run."""
    body = {"id": "c1", "messages": messages, "trigger": trigger} | more
    if message_id is not None:
        body["messageId"] = message_id
    response = await post(api, body)
    assert response.status_code == 200, response.text
    assert data(response.content)[-1]["type"] == "finish"
    return str(response.headers["x-execution-id"])


async def talk(api: Api, *said: str) -> tuple[list[dict[str, Any]], list[str]]:
    """A chat of these messages, u1, u2, …: the client's list, and the runs."""
    shown: list[dict[str, Any]] = []
    runs: list[str] = []
    for number, text in enumerate(said, 1):
        shown.append(user(f"u{number}", text))
        runs.append(await send(api, *shown))
        shown.append(answer(runs[-1]))
    return shown, runs


async def conversation(api: Api, run: str) -> dict[str, Any]:
    of = (await api.get(f"/v1/executions/{run}")).json()["conversationId"]
    found: dict[str, Any] = (await api.get(f"/v1/conversations/{of}")).json()
    return found


async def standing(api: Api, run: str) -> list[str]:
    """What the run's conversation says."""
    return [turn["content"] for turn in (await conversation(api, run))["turns"]]


async def superseded(api: Api, runs: list[str]) -> list[bool]:
    found = [(await api.get(f"/v1/executions/{run}")).json() for run in runs]
    return [one.get("superseded", False) for one in found]


# --- answer again


@pytest.mark.parametrize("names_it", [False, True])
async def test_the_last_answer_again_reads_its_message_once(
    api: Api, model: FakeModel, names_it: bool
) -> None:
    shown, runs = await talk(api, "one", "two")
    message_id = runs[1] if names_it else None
    again = await send(api, *shown[:3], trigger="regenerate-message", message_id=message_id)
    assert texts(model.requests[-1]) == ["one", "to one", "two"]
    assert again not in runs
    assert await standing(api, again) == ["one", "to one", "two", "to two"]
    assert await superseded(api, [*runs, again]) == [False, True, False]


async def test_an_earlier_answer_again_drops_what_came_behind_it(
    api: Api, model: FakeModel
) -> None:
    shown, runs = await talk(api, "one", "two", "three")
    again = await send(api, *shown[:1], trigger="regenerate-message", message_id=runs[0])
    assert texts(model.requests[-1]) == ["one"]
    assert await standing(api, again) == ["one", "to one"]
    assert await superseded(api, runs) == [True, True, True]
    found = await conversation(api, again)
    usage = (await api.get(f"/v1/executions/{again}")).json()["usage"]
    assert (found["turnCount"], found["tokenCount"]) == (2, usage["totalTokens"])
    last = await send(api, user("u1", "one"), answer(again), user("u9", "more"))
    assert texts(model.requests[-1]) == ["one", "to one", "more"]
    assert await standing(api, last) == ["one", "to one", "more", "to more"]


async def test_a_client_that_sends_only_its_newest_message_can_have_it_answered_again(
    api: Api, model: FakeModel
) -> None:
    _, runs = await talk(api, "one", "two", "three")
    again = await send(api, user("u2", "two"), trigger="regenerate-message", message_id=runs[1])
    assert texts(model.requests[-1]) == ["one", "to one", "two"]
    assert await standing(api, again) == ["one", "to one", "two", "to two"]


async def test_an_answer_is_regenerated_again_and_again(api: Api, model: FakeModel) -> None:
    shown, _ = await talk(api, "one", "two")
    runs = [await send(api, *shown[:3], trigger="regenerate-message") for _ in range(3)]
    assert texts(model.requests[-1]) == ["one", "to one", "two"]
    assert await standing(api, runs[-1]) == ["one", "to one", "two", "to two"]


async def test_a_run_that_waits_for_a_person_is_cancelled_by_the_answer_that_takes_its_place(
    share_api: MakeApi,
) -> None:
    api = await make_refund_api(share_api)
    first = await suspended(api, chat("c1"))
    body = chat("c1") | {"trigger": "regenerate-message"}
    second = await suspended(api, body)
    assert second != first
    assert (await api.get(f"/v1/executions/{first}")).json()["status"] == "cancelled"
    assert (await api.get("/v1/approvals")).json()["data"][0]["executionId"] == second
    assert len((await api.get("/v1/approvals")).json()["data"]) == 1


async def test_a_run_that_speaks_is_cancelled_by_the_answer_that_takes_its_place(
    share_api: MakeApi,
) -> None:
    held = asyncio.Event()
    replies: list[Reply] = [["Hel", held, "lo"], ["Again"]]
    said = iter(replies)
    model = FakeModel(lambda _: next(said))
    api = await share_api(model)
    first = asyncio.create_task(post(api, chat("c1", text="Hi")))
    await model.spoke.wait()
    again = await post(api, chat("c1", text="Hi") | {"trigger": "regenerate-message"})
    assert data((await first).content)[-2]["type"] == "abort"
    run = again.headers["x-execution-id"]
    assert texts(model.requests[-1]) == ["Hi"]
    assert await standing(api, run) == ["Hi", "Again"]


# --- edit


async def test_the_last_message_edited_is_read_in_its_place(api: Api, model: FakeModel) -> None:
    shown, runs = await talk(api, "one", "two")
    edited = await send(api, *shown[:2], user("u2", "deux"), message_id="u2")
    assert texts(model.requests[-1]) == ["one", "to one", "deux"]
    assert await standing(api, edited) == ["one", "to one", "deux", "to deux"]
    assert await superseded(api, runs) == [False, True]


async def test_an_earlier_message_edited_drops_what_came_behind_it(
    api: Api, model: FakeModel
) -> None:
    _, runs = await talk(api, "one", "two", "three")
    edited = await send(api, user("u1", "un"), message_id="u1")
    assert texts(model.requests[-1]) == ["un"]
    assert await standing(api, edited) == ["un", "to un"]
    assert await superseded(api, runs) == [True, True, True]


async def test_an_edit_that_says_the_same_is_answered_again(api: Api, model: FakeModel) -> None:
    shown, runs = await talk(api, "one", "two")
    edited = await send(api, *shown[:3], message_id="u2")
    assert edited not in runs
    assert texts(model.requests[-1]) == ["one", "to one", "two"]


async def test_an_edit_is_known_by_its_message_without_more_words(
    api: Api, model: FakeModel
) -> None:
    shown, _ = await talk(api, "one", "two", "three")
    edited = await send(api, *shown[:2], user("u2", "deux"))
    assert texts(model.requests[-1]) == ["one", "to one", "deux"]
    assert await standing(api, edited) == ["one", "to one", "deux", "to deux"]


async def test_a_message_from_before_ids_were_kept_is_found_behind_the_last_answer_that_is_left(
    api: Api, model: FakeModel
) -> None:
    shown, runs = await talk(api, "one", "two", "three")
    unknown = user("renamed", "deux")
    edited = await send(api, *shown[:2], unknown, message_id="renamed")
    assert texts(model.requests[-1]) == ["one", "to one", "deux"]
    assert await superseded(api, [*runs, edited]) == [False, True, True, False]


# --- what cuts nothing


async def test_a_chat_that_goes_on_cuts_nothing(api: Api, model: FakeModel) -> None:
    _, runs = await talk(api, "one", "two", "three")
    assert texts(model.requests[-1]) == ["one", "to one", "two", "to two", "three"]
    assert await superseded(api, runs) == [False, False, False]


async def test_only_the_newest_message_or_a_list_that_lacks_turns_cuts_nothing(
    api: Api, model: FakeModel
) -> None:
    shown, runs = await talk(api, "one", "two")
    await send(api, user("u7", "only me"))
    assert texts(model.requests[-1]) == ["one", "to one", "two", "to two", "only me"]
    await send(api, *shown[:2], user("u8", "from another page"))
    assert texts(model.requests[-1])[-3:] == ["only me", "to only me", "from another page"]
    assert await superseded(api, runs) == [False, False]


async def test_the_same_request_again_is_answered_with_the_same_run(
    api: Api, model: FakeModel
) -> None:
    body = {"id": "c1", "messages": [user("u1", "one")], "trigger": "submit-message"}
    first, again = await post(api, body), await post(api, body)
    assert again.headers["x-execution-id"] == first.headers["x-execution-id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.content, len(model.requests)) == (first.content, 1)


async def test_an_edit_sent_again_under_its_idempotency_key_cuts_once(
    api: Api, model: FakeModel
) -> None:
    shown, _ = await talk(api, "one", "two")
    body = {"id": "c1", "messages": shown[:3], "trigger": "regenerate-message"}
    once = {"Idempotency-Key": "once"}
    runs = [(await post(api, body, headers=once)).headers["x-execution-id"] for _ in range(3)]
    assert len(set(runs)) == 1
    assert len(model.requests) == 3
    assert await superseded(api, runs[:1]) == [False]


async def test_clients_without_a_trigger_cut_nothing(api: Api, model: FakeModel) -> None:
    _, runs = await talk(api, "one")
    of = (await conversation(api, runs[0]))["id"]
    for _ in range(2):
        said = {"id": "u1", "role": "user", "content": "one"}
        await post(api, {"messages": [said], "conversationId": of})
    assert texts(model.requests[-1]) == ["one", "to one"] * 2 + ["one"]


async def test_a_message_id_that_is_too_long_to_be_kept_is_no_id(
    api: Api, model: FakeModel
) -> None:
    long = "u" * 257
    await send(api, user(long, "one"))
    await send(api, user(long, "two"))
    assert texts(model.requests[-1]) == ["one", "to one", "two"]


async def test_another_conversation_s_messages_have_ids_of_their_own(
    api: Api, model: FakeModel
) -> None:
    _, runs = await talk(api, "one")
    await send(api, user("u1", "other"), message_id="u1", id="c2")
    assert texts(model.requests[-1]) == ["other"]
    assert await superseded(api, runs) == [False]


# --- the other rooms


async def test_what_was_cut_is_still_there_by_its_id_and_in_every_list(api: Api) -> None:
    shown, runs = await talk(api, "one", "two")
    again = await send(api, *shown[:3], trigger="regenerate-message")
    listed = (await api.get("/v1/executions")).json()["data"]
    assert {one["id"]: one.get("superseded", False) for one in listed} == {
        runs[0]: False,
        runs[1]: True,
        again: False,
    }
    assert all(one["creditsUsed"] > 0 for one in listed)
    records = (await api.get("/api/v1/executions")).json()
    assert len(records) == 3
    assert (await api.get(f"{PATH}/{runs[1]}/stream")).status_code == 200


async def test_an_execution_replaces_another_s_turn_in_the_main_room(
    api: Api, model: FakeModel
) -> None:
    first = (await api.execute({"input": "one"})).json()
    second = (await api.execute({"input": "two", "conversationId": first["conversationId"]})).json()
    better = (await api.execute({"input": "deux", "replaces": second["id"]})).json()
    assert better["conversationId"] == first["conversationId"]
    assert texts(model.requests[-1]) == ["one", "to one", "deux"]
    assert await standing(api, better["id"]) == ["one", "to one", "deux", "to deux"]
    assert await superseded(api, [first["id"], second["id"]]) == [False, True]
    again = await _refused(api, second["id"])
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")


@pytest.mark.parametrize("replaced", ["nonsense", "exec_01k6zj3t7hf2a9q1x5m8r4c0vb"])
async def test_what_is_not_there_cannot_be_replaced(api: Api, replaced: str) -> None:
    refused = await _refused(api, replaced)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (
        404,
        "execution_not_found",
        "replaces",
    )


async def test_a_turn_of_another_conversation_cannot_be_replaced(api: Api) -> None:
    one = (await api.execute({"input": "one"})).json()
    other = (await api.execute({"input": "other"})).json()
    refused = await _refused(api, one["id"], conversationId=other["conversationId"])
    assert (refused.status_code, refused.json()["error"]["param"]) == (404, "replaces")
    assert await superseded(api, [one["id"], other["id"]]) == [False, False]


async def _refused(api: Api, replaced: str, **more: Any) -> httpx2.Response:
    return await api.execute({"input": "x", "replaces": replaced, **more})


# --- metadata


async def test_a_run_keeps_its_metadata(api: Api) -> None:
    run = await send(api, user("u1", "one"), metadata={"source": "web", "n": [1]})
    kept = (await api.get(f"/v1/executions/{run}")).json()["metadata"]
    assert kept == {"source": "web", "n": [1]}
    plain = await post(api, {"messages": [{"role": "user", "content": "Hi"}], "metadata": {}})
    assert plain.status_code == 200
    wrong = orjson.dumps({"messages": [user("u1", "one")], "metadata": "text"})
    assert (await api.client.post(PATH, content=wrong)).status_code == 422
