"""A server whose agent needs an approval to refund, and what a client of the runs room sends it."""

from typing import Any

import httpx2
import orjson

from outlast.rooms.runs.stream.formats import Format
from tests.support.api import Api, MakeApi
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool

PATH = "/run/api/executions"
REFUND = call(1, "refund", amount=5)
ASKING: tuple[Reply, ...] = (["Let me ", "see. ", REFUND], ["It is ", "done."])


async def make_refund_api(make_api: MakeApi, *replies: Reply, **more: Any) -> Api:
    """The refund needs a person; the tool answers `paid`."""
    model = more.pop("model", None) or FakeModel(by_turn(*(replies or ASKING)))
    tools = more.pop("tools", None) or FakeTools(refund=lambda _: "paid", look=lambda _: [1])
    agent = spec(tool("refund", approval=True), tool("look"))
    return await make_api(model, agent, tools, **more)


def user(text: str = "Refund me") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def chat(chat_id: str, *messages: dict[str, Any], text: str = "Refund me") -> dict[str, Any]:
    """What the AI SDK's chat sends."""
    first = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": chat_id, "messages": [first, *messages], "trigger": "submit-message"}


def answer(approved: bool = True, reason: str | None = None, *, id: str = "a1") -> dict[str, Any]:
    """The assistant's message with a person's answer in it."""
    approval = {"id": REFUND.id, "approved": approved, "reason": reason}
    part = {
        "type": "tool-refund",
        "toolCallId": REFUND.id,
        "state": "approval-responded",
        "input": {"amount": 5},
        "approval": approval,
    }
    return {"id": id, "role": "assistant", "parts": [{"type": "step-start"}, part]}


async def post(api: Api, body: Any, **more: Any) -> httpx2.Response:
    return await api.client.post(PATH, content=orjson.dumps(body), **more)


async def suspended(api: Api, body: Any | None = None, format: Format = Format.OPENAI) -> str:
    """The id of a new run that waits for a person."""
    body = chat("chat", text="Refund me") if body is None else body
    response = await post(api, body, params={"format": format.value})
    assert response.status_code == 200, response.text
    return str(response.headers["x-execution-id"])


async def decide(api: Api, run: str, approved: bool, reason: str = "") -> httpx2.Response:
    body = {"approved": approved} | ({"reason": reason} if reason else {})
    return await api.client.post(f"{PATH}/{run}/approvals/{REFUND.id}", content=orjson.dumps(body))


def split(content: bytes) -> list[bytes]:
    """A whole stream as its frames, byte for byte."""
    return [part + b"\n\n" for part in content.split(b"\n\n") if part]


def data(content: bytes) -> list[Any]:
    """What every frame says."""
    texts = [frame.partition(b"data: ")[2].strip() for frame in split(content)]
    return ["[DONE]" if text == b"[DONE]" else orjson.loads(text) for text in texts]
