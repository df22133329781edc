"""Chains of models over real HTTP: what is shown, charged and recorded when the first one fails."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.port import Answer, CallPiece, ModelEvent, ModelRequest, TextPiece
from outlast.agents.tools.builtin import builtin_spec
from outlast.agents.tools.toolbox import ToolBox
from outlast.app import Core
from outlast.model.agent import AgentSpec, ModelChoice
from outlast.model.clock import SystemClock
from outlast.model.error import ModelUnavailable
from outlast.model.event import Entry, StepRetried
from outlast.model.execution import Budget, ModelStep, Status
from outlast.model.message import AssistantMessage, Text
from outlast.model.price import NANO, ModelPrice, Prices
from outlast.model.provider import ProviderSpec
from outlast.model.usage import Usage
from outlast.services.executions import ExecutionView
from outlast.testing import FakeClock, NamedModels, owner
from tests.engine.test_crash import Client, shown_text
from tests.support.clocks import ImpatientClock
from tests.support.crashes import Crash
from tests.support.databases import SQLITE, Another, Database
from tests.support.engine import start_request
from tests.support.provider import FakeProvider, Reply
from tests.support.tools import FakeTools
from tests.support.waiting import BOUND, lives_until

pytestmark = pytest.mark.anyio
PRICES = Prices({"a:m": ModelPrice(100, 1000, 0, 0), "b:m": ModelPrice(7, 11, 0, 0)})
COST = 20 * 7 + 5 * 11
SPENT = b'{"error":{"code":"insufficient_quota"}}'
HALF = b'data: {"choices":[{"delta":{"content":"Half'


def says(text: str, model: str = "b-2026") -> Reply:
    """An answer of 20 tokens in and 5 out."""
    usage = {"prompt_tokens": 20, "completion_tokens": 5}
    chunks: list[Any] = [
        {"model": model, "choices": [{"delta": {"content": text}}]},
        {"model": model, "choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage},
    ]
    lines = [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks]
    return Reply((*lines, b"data: [DONE]\n\n"))


def shown(*words: str) -> bytes:
    """The pieces of an answer that does not end."""
    chunks = ({"choices": [{"delta": {"content": word}}]} for word in words)
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks)


@dataclass
class Setting:
    """Two providers, the first of which fails, and the core of an agent that has both."""

    core: Core
    first: FakeProvider
    second: FakeProvider
    entries: list[Entry] = field(default_factory=list)
    """The log of the last run."""
    answered_by: list[str] = field(default_factory=list)
    """The models of its recorded steps."""

    async def run(
        self, *models: str | ModelChoice, on: tuple[str, ...] = (), **more: Any
    ) -> ExecutionView:
        caller = await owner(self.core)
        choices = tuple(m if isinstance(m, ModelChoice) else ModelChoice(m) for m in models)
        agent = AgentSpec("agent", choices[0].name, chain=choices, fallback_on=on)
        executions = self.core.services.executions
        await self.core.services.agents.put(caller.workspace_id, [(agent, repr(agent))])
        async with asyncio.timeout(BOUND):
            _, view = await executions.run(caller, "agent", start_request(**more))
            recorded = await self.core.store.executions.steps(
                caller.workspace_id, view.execution.id
            )
            self.answered_by = [one.model for one in recorded if isinstance(one, ModelStep)]
            self.entries = [
                entry
                async for entries in executions.follow(caller, view.execution.id)
                for entry in entries
            ]
        return view

    @property
    def requests(self) -> tuple[int, int]:
        return self.first.request_count, self.second.request_count

    @property
    def retries(self) -> int:
        return sum(isinstance(entry.event, StepRetried) for entry in self.entries)


@asynccontextmanager
async def setting(
    database: Database, tmp_path: Path, clock: SystemClock | None = None, **more: Any
) -> AsyncIterator[Setting]:
    clock = clock or ImpatientClock()
    async with FakeProvider() as first, FakeProvider() as second:
        second.replies["m"] = says("All is well.")
        providers = {
            "a": ProviderSpec("a", base_url=first.url, timeout=0.3),
            "b": ProviderSpec("b", base_url=second.url),
        }
        models = ModelCatalogue(clock, tmp_path, providers=providers)
        given = {"prices": PRICES, "clock": clock, "model_retries": 1, **more}
        async with database.core(models=models, tools=ToolBox(clock), **given) as core:
            yield Setting(core, first, second)


FAILURES: dict[str, tuple[Reply, int, int]] = {
    "before the first token": (Reply((b"{}",), status="500 X"), 2, 0),
    "in the middle of the first token": (Reply((HALF,), cut=True), 2, 0),
    "after some tokens": (Reply((shown("All ", "is "),), cut=True), 2, 2),
    "with an error in mid-stream": (Reply((shown("All "), b'data: {"error": {}}\n\n')), 2, 2),
    "by silence": (Reply((shown("All "),), hang=True), 2, 2),
    "by a long wait": (Reply((b"{}",), status="429 X", headers="retry-after: 60\r\n"), 1, 0),
    "by a spent quota": (
        Reply((b'{"error":{"code":"insufficient_quota"}}',), status="429 X"),
        1,
        0,
    ),
}


@pytest.mark.parametrize("how", ["after some tokens", "by a long wait"])
async def test_the_next_model_answers_for_one_that_fails_on_both_databases(
    how: str, database: Database, tmp_path: Path
) -> None:
    await check(how, database, tmp_path)


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize("how", FAILURES)
async def test_the_next_model_answers_for_one_that_fails(
    how: str, database: Database, tmp_path: Path
) -> None:
    await check(how, database, tmp_path)


async def check(how: str, database: Database, tmp_path: Path) -> None:
    reply, requests, retries = FAILURES[how]
    async with setting(database, tmp_path) as here:
        here.first.replies["m"] = reply
        view = await here.run("a:m", "b:m")
    execution = view.execution
    assert execution.status is Status.COMPLETED
    assert execution.output == shown_text(here.entries) == "All is well."
    assert (here.requests, here.retries) == ((requests, 1), retries)
    assert (execution.final_model, execution.credits) == ("b-2026", COST)
    assert (execution.usage.input_tokens, execution.usage.output_tokens) == (20, 5)
    assert database.rows("SELECT name, credits FROM charges") == [("b-2026", COST)]
    assert here.answered_by == ["b-2026"]


@pytest.mark.only(SQLITE)
async def test_a_server_that_is_gone_and_a_model_without_a_key_are_passed_over(
    database: Database, tmp_path: Path
) -> None:
    async with setting(database, tmp_path) as here:
        await here.first.close()
        view = await here.run("nowhere:m", "a:m", "b:m")
        assert view.execution.output == "All is well."
        await here.first.start()


@pytest.mark.only(SQLITE)
async def test_what_a_provider_rejects_goes_on_only_where_fallback_on_says_so(
    database: Database, tmp_path: Path
) -> None:
    async with setting(database, tmp_path) as here:
        here.first.replies["m"] = Reply((b'{"error":{"message":"unsafe"}}',), status="400 X")
        view = await here.run("a:m", "b:m")
        assert view.execution.error is not None
        assert view.execution.error.code == "model_rejected"
        assert (here.requests, view.execution.credits) == ((1, 0), 0)
        view = await here.run("a:m", "b:m", on=("model_rejected",))
        assert (here.requests, view.execution.output) == ((2, 1), "All is well.")


@pytest.mark.only(SQLITE)
async def test_a_request_that_is_too_long_goes_to_a_larger_model(
    database: Database, tmp_path: Path
) -> None:
    async with setting(database, tmp_path) as here:
        view = await here.run(ModelChoice("a:too-long", 1000), ModelChoice("b:m", 1000))
        assert view.execution.error is not None
        assert view.execution.error.code == "context_length_exceeded"
        view = await here.run(ModelChoice("a:too-long", 1000), ModelChoice("b:m", 2000))
        assert view.execution.output == "All is well."
        assert here.requests == (2, 1)


@pytest.mark.only(SQLITE)
async def test_a_chain_that_fails_names_every_model_and_costs_nothing(
    database: Database, tmp_path: Path
) -> None:
    async with setting(database, tmp_path) as here:
        view = await here.run("a:status-429", "b:status-401")
    assert view.execution.status is Status.FAILED
    assert view.execution.error is not None
    assert view.execution.error.code == "model_rejected"
    assert view.execution.error.message.endswith(
        " (tried before: a:status-429: rate_limit_exceeded)"
    )
    assert (view.execution.credits, view.execution.charged_tokens) == (0, 0)
    assert database.rows("SELECT * FROM charges") == []


@pytest.mark.only(SQLITE)
async def test_an_answer_is_bounded_by_the_price_of_the_model_that_is_tried(
    database: Database, tmp_path: Path
) -> None:
    async with setting(database, tmp_path) as here:
        here.first.replies["m"] = Reply((b"{}",), status="500 X")
        view = await here.run("a:m", "b:m", budget=Budget(max_credits=22_000 / NANO))
        assert view.execution.status is Status.COMPLETED
        assert {request["max_tokens"] for request in here.first.requests} == {
            (22_000 - 2 * 100) // 1000
        }
        assert here.second.requests[0]["max_tokens"] == (22_000 - 2 * 7) // 11


@pytest.mark.only(SQLITE)
async def test_a_model_that_keeps_failing_gets_no_more_requests_for_a_while(
    database: Database, tmp_path: Path
) -> None:
    async with setting(database, tmp_path) as here:
        here.first.replies["m"] = Reply((b"{}",), status="500 X")
        for _ in range(4):
            assert (await here.run("a:m", "b:m")).execution.output == "All is well."
        assert here.requests == (5, 4)  # the fifth failure is not tried again
        view = await here.run("a:m")  # the only model is tried whatever happened
        assert view.execution.error is not None
        assert here.requests == (7, 4)


class Forgetful(FakeProvider):
    """Calls a tool with reasoning beside it, and then fails."""

    def reply_to(self, request: dict[str, Any]) -> Reply | None:
        del request
        if self.request_count > 1:
            return Reply((b"{}",), status="500 X")
        call = {
            "index": 0,
            "id": "functions.calculator:0",
            "function": {"name": "calculator", "arguments": '{"expression": "1+1"}'},
            "extra_content": {"google": {"thought_signature": "c2VjcmV0"}},
        }
        delta = {"reasoning_content": "private thought", "tool_calls": [call]}
        chunk = {"model": "a-1", "choices": [{"delta": delta, "finish_reason": "tool_calls"}]}
        return Reply((b"data: " + orjson.dumps(chunk) + b"\n\n", b"data: [DONE]\n\n"))


@pytest.mark.only(SQLITE)
async def test_what_one_model_thought_and_signed_is_not_sent_to_another(
    database: Database, tmp_path: Path
) -> None:
    async with Forgetful() as first, FakeProvider() as second:
        second.replies["n"] = says("It is 2.")
        providers = {
            "a": ProviderSpec("a", base_url=first.url),
            "b": ProviderSpec("b", base_url=second.url),
        }
        clock = ImpatientClock()
        models = ModelCatalogue(clock, tmp_path, providers=providers)
        async with database.core(models=models, tools=ToolBox(clock), clock=clock) as core:
            caller = await owner(core)
            chain = (ModelChoice("a:m"), ModelChoice("b:n"))
            agent = AgentSpec("agent", "a:m", tools=(builtin_spec("calculator"),), chain=chain)
            await core.services.agents.put(caller.workspace_id, [(agent, "1")])
            async with asyncio.timeout(BOUND):
                _, view = await core.services.executions.run(caller, "agent", start_request())
        assert view.execution.output == "It is 2."
        assert database.rows("SELECT name FROM charges ORDER BY step") == [("a-1",), ("b-2026",)]
        again, other = (
            orjson.dumps(one).decode() for one in (first.requests[1], second.requests[0])
        )
    for private in ("private thought", "c2VjcmV0"):
        assert private in again
        assert private not in other


# --- a crash in between


class Dying:
    """Says some words, begins a call, and is gone."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        del request
        for word in ("Half ", "an ", "answer"):
            await asyncio.to_thread(int)  # each in a commit of its own
            yield TextPiece(word)
        yield CallPiece(40)
        raise ModelUnavailable("gone", passing=False)

    async def close(self) -> None:
        pass


class Healthy:
    """Answers in two pieces."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        del request
        for word in ("All is ", "well."):
            await asyncio.to_thread(int)
            yield TextPiece(word)
        yield Answer(AssistantMessage((Text("All is well."),)), Usage(20, 5), "b-2026", "stop")

    async def close(self) -> None:
        pass


def models_of_both() -> NamedModels:
    return NamedModels({"a:m": Dying(), "b:m": Healthy()})


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize("commits_last", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_commit_of_a_fallback_charges_one_answer(
    another_database: Another, commits_last: bool
) -> None:
    chain = (ModelChoice("a:m"), ModelChoice("b:m"))
    for writes in range(100):
        database, client = another_database(), Client()
        crash = Crash(writes, commits_last=commits_last)
        async with database.core(
            models=models_of_both(),
            tools=FakeTools(),
            clock=FakeClock(),
            store=crash.store,
            prices=PRICES,
        ) as core:
            caller = await owner(core)
            agent = AgentSpec("agent", "a:m", chain=chain)
            await core.services.agents.put(caller.workspace_id, [(agent, "1")])
            started = await core.services.executions.start(caller, "agent", start_request())
            following = client.follow(core, caller, started.execution.id)
            crashed = await lives_until(crash.happened, following)
        async with (
            asyncio.timeout(BOUND),
            database.core(
                models=models_of_both(), tools=FakeTools(), clock=FakeClock(), prices=PRICES
            ) as core,
        ):
            await client.follow(core, caller, started.execution.id)
            view = await core.services.executions.rest(caller, started.execution.id)
        assert view.execution.output == shown_text(client.seen) == "All is well.", writes
        assert view.execution.credits == COST
        assert database.rows("SELECT name, credits FROM charges") == [("b-2026", COST)]
        if not crashed:
            break
    assert writes > 3
