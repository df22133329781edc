"""Providers' answers gone wrong, through the whole server: each run ends, and none says "mistake".

`OUTLAST_TEST_MUTANTS=10000` runs so many in place of a few hundred, `OUTLAST_TEST_SEED` others.
"""

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import structlog

from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.port import Models
from outlast.app import Core
from outlast.model.agent import AgentSpec, Effect, Limits
from outlast.model.clock import Clock
from outlast.model.execution import Status
from outlast.model.workspace import Principal
from outlast.rooms.executions import render
from outlast.services.executions import ExecutionView
from outlast.testing import NamedModels, owner
from tests.support.broken_answers import Mutants
from tests.support.clocks import ImpatientClock
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.provider import FakeProvider, Reply
from tests.support.provider_chunks import last_user_text, text
from tests.support.tools import FakeTools, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

COUNT: Final = int(os.environ.get("OUTLAST_TEST_MUTANTS", "300"))
SEED: Final = int(os.environ.get("OUTLAST_TEST_SEED", "1"))
TOGETHER: Final = 50
"""Seconds in which so many runs at once have ended."""
FAILURES: Final = {
    "model_unavailable",
    "model_rejected",
    "rate_limit_exceeded",
    "context_length_exceeded",
    "limit_exceeded",
}
NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
LOOKUP: Final = tool("lookup", Effect.READ_ONLY)


class OddProvider(FakeProvider):
    """Answers the first request of `mutant N` with that mutant, and any other as it should."""

    def __init__(self) -> None:
        super().__init__(record=False)
        self.mutants = Mutants(SEED)
        self.refused: list[str] = []

    def reply_to(self, request: dict[str, Any]) -> Reply | None:
        if problem := _problem(request):
            self.refused.append(problem)
        found = re.fullmatch(r"mutant (\d+)", last_user_text(request))
        answered = any(message["role"] == "assistant" for message in request["messages"])
        return None if found is None or answered else self.mutants.make(int(found[1]))


def _problem(request: dict[str, Any]) -> str | None:
    """What a strict provider would not take of a request."""
    messages = request["messages"]
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    if len({call["id"] for call in calls}) < len(calls):
        return "ids that are not unique"
    if not all(NAME.fullmatch(call["function"]["name"]) for call in calls):
        return "a name that is none"
    if not all(isinstance(orjson.loads(c["function"]["arguments"]), dict) for c in calls):
        return "arguments that are no object"
    answers = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    return None if answers == [call["id"] for call in calls] else "answers to no call"


@pytest.fixture(autouse=True)
def _few_logs() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


@asynccontextmanager
async def serving(database: Database, models: Models, clock: Clock) -> AsyncIterator[Any]:
    tools = FakeTools(lookup=lambda _: {"status": "sent"})
    async with database.core(models=models, tools=tools, clock=clock, model_retries=1) as core:
        caller = await owner(core)
        odd = AgentSpec("odd", "openai-chat:odd", tools=(LOOKUP,), limits=Limits(max_steps=90))
        neighbour = AgentSpec("neighbour", "openai-chat:words-12")
        agents = [(odd, "1"), (neighbour, "1")]
        await core.services.agents.put(caller.workspace_id, agents)
        yield core, caller


async def survive(core: Core, caller: Principal, count: int) -> dict[str, int]:
    """Run so many mutants, some at a time beside a neighbour; how often each end came."""
    ends: dict[str, int] = {}
    run = core.services.executions.run
    for first in range(0, count, TOGETHER):
        numbers = range(first, min(first + TOGETHER, count))
        async with asyncio.timeout(BOUND):
            (_, beside), *ended = await asyncio.gather(
                run(caller, "neighbour", start_request()),
                *(run(caller, "odd", start_request(f"mutant {number}")) for number in numbers),
            )
        assert (beside.execution.status, beside.execution.output) == (Status.COMPLETED, text(12))
        for number, (_, view) in zip(numbers, ended, strict=True):
            end = _end(number, view)
            ends[end] = ends.get(end, 0) + 1
    return ends


def _end(number: int, view: ExecutionView) -> str:
    execution, error = view.execution, view.execution.error
    orjson.dumps(render.execution(view))
    assert isinstance(execution.final_model, str | None), number
    assert 0 <= execution.usage.total_tokens < 10**10, number
    if error is None:
        assert execution.status is Status.COMPLETED, number
        return "completed"
    assert execution.status is Status.FAILED, number
    assert error.code in FAILURES, (number, error)
    assert "mistake" not in error.message, (number, error)
    return error.code


async def test_each_answer_gone_wrong_ends_its_run_and_no_other(
    tmp_path: Path, database: Database
) -> None:
    clock = ImpatientClock()
    async with OddProvider() as provider:
        models = ModelCatalogue(clock, tmp_path, environment={"OPENAI_BASE_URL": provider.url})
        async with serving(database, models, clock) as (core, caller):
            ends = await survive(core, caller, COUNT)
    assert sum(ends.values()) == COUNT
    assert {"completed", "model_unavailable"} <= set(ends)
    assert not provider.refused
    print(ends)


@pytest.mark.filterwarnings("ignore")
async def test_each_answer_gone_wrong_ends_its_run_over_an_sdk(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pydantic_ai")
    pytest.importorskip("openai")
    from tests.agents.test_bridge import openai_chat

    clock = ImpatientClock()
    async with OddProvider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123456")
        names = ("odd", "words-12")
        models = NamedModels({f"openai-chat:{name}": openai_chat(name) for name in names})
        async with serving(database, models, clock) as (core, caller):
            ends = await survive(core, caller, COUNT // 5)
    assert sum(ends.values()) == COUNT // 5
    print(ends)
