"""What a provider wants back is recorded, and goes back with each request that follows."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from outlast.agents.models.catalogue import ModelCatalogue
from outlast.model.agent import AgentSpec, Effect
from outlast.model.clock import SystemClock
from outlast.model.execution import ModelStep, Status
from outlast.model.message import Thinking
from outlast.services.executions import ExecutionView
from outlast.testing import owner
from tests.support.chat_endpoint import chunk
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.provider import FakeProvider, Reply
from tests.support.tools import FakeTools, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
SIGNED = {"google": {"thought_signature": "c2ln"}}
TWO_CALLS = (
    chunk({"reasoning_content": "Look \ufffd first."}),
    chunk(
        {
            "tool_calls": [
                {"index": 0, "id": "call_0", "function": {"name": "look", "arguments": "{}"}}
                | {"extra_content": SIGNED},
                {"index": 1, "id": "call_0", "function": {"name": "look", "arguments": "{}"}},
            ]
        }
    ),
    chunk({}, "tool_calls"),
    b"data: [DONE]\n\n",
)
HALF = b'data: {"choices": [{"delta": {"content": "\\u%b"}}]}\n\n'
EMOJI = (HALF % b"d83d", HALF % b"de00", chunk({}, "stop"), b"data: [DONE]\n\n")


class InTurn(FakeProvider):
    """Says the nth of its answers to a request with n assistant messages."""

    answers: tuple[tuple[bytes, ...], ...] = (TWO_CALLS, EMOJI)

    def reply_to(self, request: dict[str, Any]) -> Reply | None:
        said = sum(message["role"] == "assistant" for message in request["messages"])
        return Reply(self.answers[min(said, len(self.answers) - 1)])


async def test_reasoning_and_signatures_are_recorded_with_the_calls_and_sent_back(
    tmp_path: Path, database: Database
) -> None:
    tools = FakeTools(look=lambda _: "seen")
    async with InTurn() as provider:
        environment = {"OPENAI_BASE_URL": provider.url}
        views: list[ExecutionView] = []
        for turn in (1, 2):  # the second turn reads the first from the store
            clock = SystemClock()
            models = ModelCatalogue(clock, tmp_path, environment=environment)
            async with database.core(models=models, tools=tools, clock=clock) as core:
                caller = await owner(core)
                look = tool("look", Effect.READ_ONLY)
                agent = AgentSpec("agent", "openai-chat:m", tools=(look,))
                await core.services.agents.put(caller.workspace_id, [(agent, "1")])
                conversation = views[0].execution.conversation_id if views else None
                start = start_request(f"turn {turn}", conversation_id=conversation)
                async with asyncio.timeout(BOUND):
                    _, view = await core.services.executions.run(caller, "agent", start)
                views.append(view)
            assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "😀")
    step = views[0].steps[0]
    assert isinstance(step, ModelStep)
    marked = [part for part in step.message.parts if isinstance(part, Thinking)]
    assert [bool(part.signature) for part in marked] == [True, True]
    for request in provider.requests[1:]:
        assistant, *answers = request["messages"][1:4]
        assert assistant["reasoning_content"] == "Look \ufffd first."
        assert assistant["tool_calls"][0]["id"] == "call_0"
        assert assistant["tool_calls"][0]["extra_content"] == SIGNED
        assert "extra_content" not in assistant["tool_calls"][1]
        ids = [call["id"] for call in assistant["tool_calls"]]
        assert len(set(ids)) == 2
        assert [answer["tool_call_id"] for answer in answers] == ids
    assert len(provider.requests) == 3
    assert provider.requests[2]["messages"][4] == {"role": "assistant", "content": "😀"}
