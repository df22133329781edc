"""Budgets of the workspace, keys and conversations, over HTTP."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from outlast.agents.port import Answer, ModelEvent, ModelRequest
from outlast.engine.maintenance.budget_levels import BUDGET_LEVELS
from outlast.model.agent import AgentSpec
from outlast.model.price import ModelPrice, Prices
from outlast.model.usage import Usage
from outlast.model.workspace import Scope
from outlast.testing import FakeClock
from tests.rooms.conftest import MakeApi
from tests.support.api import Api
from tests.support.databases import POSTGRESQL, Database
from tests.support.models import FakeModel
from tests.support.runs_room import PATH as RUNS
from tests.support.runs_room import user
from tests.support.tools import FakeTools, call, tool
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio

SHORT = {"max_tokens": 100}
AGENT = AgentSpec("agent", "actor", "Be kind.", settings=SHORT)
COST = 15
"""Tokens of one answer of the fake model."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def house(make_api: MakeApi, clock: FakeClock) -> Api:
    return await make_api(agent=AGENT, clock=clock)


async def put(api: Api, owner: str = "workspace", **bounds: Any) -> dict[str, Any]:
    answer = await api.client.put(f"/v1/budgets/{owner}", json=bounds)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def get(api: Api, owner: str = "workspace") -> dict[str, Any]:
    answer = await api.get(f"/v1/budgets/{owner}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def run(api: Api, **more: Any) -> dict[str, Any]:
    answer = await api.execute({"input": "Hi", **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_budget_shows_what_is_spent_and_what_is_left_until_it_is_removed(
    house: Api, clock: FakeClock
) -> None:
    await run(house)
    made = await put(house, maxTokens=1000, maxCredits=3, period="month", timeZone="Europe/Berlin")
    assert made["spent"]["tokens"] == COST, "what the ledger says of this month"
    assert made["kind"] == "workspace"
    assert made["max"] == {"tokens": 1000, "credits": 3.0, "steps": None, "seconds": None}
    await run(house)
    shown = await get(house)
    assert shown["spent"]["tokens"] == 2 * COST
    assert shown["spent"]["credits"] == 2 * COST / 1000
    assert shown["reserved"] == {"tokens": 0, "credits": 0.0, "steps": 0, "seconds": 0.0}
    assert shown["remaining"]["tokens"] == 1000 - 2 * COST
    assert shown["resetsAt"][11:16] in ("22:00", "23:00"), "midnight in Berlin"
    raised = await put(house, maxTokens=2000, period="month", timeZone="Europe/Berlin")
    assert raised["remaining"]["tokens"] == 2000 - 2 * COST
    assert (await house.get("/v1/budgets")).json()["data"] == [raised]
    for _ in range(2):
        assert (await house.client.delete("/v1/budgets/workspace")).status_code == 204
    assert refused(await house.get("/v1/budgets/workspace")) == (404, "budget_not_found")
    assert (await house.get("/v1/budgets")).json()["data"] == []


async def test_null_removes_and_a_wrong_budget_is_refused(house: Api) -> None:
    await put(house, maxSteps=5)
    null = await house.client.put("/v1/budgets/workspace", content=b" null ")
    assert null.status_code == 204
    for owner, body, wanted in (
        ("workspace", {}, (422, "invalid_field_value")),
        ("workspace", {"maxTokens": -1}, (422, "invalid_field_value")),
        ("workspace", {"maxTokens": 1, "timeZone": "Mars/Base"}, (422, "invalid_field_value")),
        ("workspace", {"maxTokens": 1, "timeZone": "../etc/passwd"}, (422, "invalid_field_value")),
        ("workspace", {"maxTokens": 1, "timeZone": "localtime"}, (422, "invalid_field_value")),
        ("workspace", {"maxTokens": 1, "period": "week"}, (422, "invalid_field_value")),
        ("shop", {"maxTokens": 1}, (404, "budget_not_found")),
        ("key_01kj9pwe00e008000000000005", {"maxTokens": 1}, (404, "key_not_found")),
        ("conv_01kj9pwe00e008000000000005", {"maxTokens": 1}, (404, "conversation_not_found")),
        ("ws_01kj9pwe00e008000000000005", {"maxTokens": 1}, (404, "budget_not_found")),
        ("exec_01kj9pwe00e008000000000005", {"maxTokens": 1}, (409, "conflict")),
    ):
        answer = await house.client.put(f"/v1/budgets/{owner}", json=body)
        assert refused(answer) == wanted, (owner, body)


async def test_a_reader_sees_budgets_and_does_not_set_them(house: Api) -> None:
    await put(house, maxTokens=1000)
    made = await house.core.services.keys.create(
        house.caller.workspace_id, "reader", frozenset({Scope.EXECUTIONS_READ})
    )
    by = {"Authorization": f"Bearer {made.secret}"}
    shown = await house.client.get("/v1/budgets/workspace", headers=by)
    assert shown.status_code == 200
    for method in ("PUT", "DELETE"):
        answer = await house.client.request(
            method, "/v1/budgets/workspace", json={"maxTokens": 1}, headers=by
        )
        assert refused(answer) == (403, "insufficient_scope")
    other = await house.core.services.workspaces.put("other")
    stranger = await house.core.services.keys.create(other.id, "stranger")
    by = {"Authorization": f"Bearer {stranger.secret}"}
    gone = await house.client.get(f"/v1/budgets/{house.caller.workspace_id}", headers=by)
    assert refused(gone) == (404, "budget_not_found")


async def test_a_spent_budget_refuses_new_executions_in_every_room_until_the_period_ends(
    house: Api, clock: FakeClock
) -> None:
    once = {"Idempotency-Key": "once"}
    first = await house.execute({"input": "Hi"}, headers=once)
    await put(house, maxCredits=0.01, period="day", timeZone="Asia/Kolkata")
    body = {"input": "Hi"}
    answers = [
        await house.execute(body),
        await house.execute(body | {"background": True}),
        await house.execute(body | {"stream": True}),
        await house.execute(),
        await house.client.post(RUNS, json=user()),
        await house.client.post("/v1/execution", json={"name": "t", "agent_id": "agent", **body}),
    ]
    for answer in answers:
        assert answer.status_code == 429, answer.text
        assert 0 < int(answer.headers["retry-after"]) <= 24 * 3600
        assert "0.01 credits a day, is spent (0.015 used" in answer.text
    assert [answer.json()["error"]["code"] for answer in answers[:4]] == ["quota_exceeded"] * 4
    assert isinstance(answers[4].json()["error"], str), "the room's own shape"
    assert answers[5].json()["error"]["code"] == "quota_exceeded"
    again = await house.execute({"input": "Hi"}, headers=once)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    clock.advance(float(answers[0].headers["retry-after"]))
    assert (await get(house))["spent"]["tokens"] == 0
    await run(house)
    await put(house, maxCredits=1, period="day", timeZone="Asia/Kolkata")
    assert (await run(house))["status"] == "completed"
    assert (await get(house))["spent"]["tokens"] == COST
    await put(house, maxTokens=150)
    forever = await house.execute(body)
    assert forever.status_code == 200
    await put(house, maxTokens=100)
    forever = await house.execute(body)
    assert forever.status_code == 429
    assert "retry-after" not in forever.headers


async def test_a_key_and_a_conversation_have_budgets_of_their_own(house: Api) -> None:
    talk = (await run(house))["conversationId"]
    shown = await put(house, talk, maxTokens=129)
    assert (shown["kind"], shown["spent"]["tokens"]) == ("conversation", COST)
    await run(house, conversationId=talk)
    answer = await house.execute({"input": "Hi", "conversationId": talk})
    assert refused(answer) == (429, "quota_exceeded")
    assert f"conversation {talk}" in answer.text
    await run(house)
    key = house.caller.key_id
    shown = await put(house, f"key:{key}", maxSteps=4)
    assert (shown["owner"], shown["spent"]["tokens"]) == (key, 3 * COST)
    for _ in range(4):
        await run(house)
    assert refused(await house.execute({"input": "Hi"})) == (429, "quota_exceeded")
    owners = [one["owner"] for one in (await house.get("/v1/budgets")).json()["data"]]
    assert owners == [talk, key]
    page = (await house.get("/v1/budgets", kind="key", limit=1)).json()
    assert ([one["owner"] for one in page["data"]], page["hasMore"]) == ([key], False)
    assert (await house.client.delete(f"/v1/conversations/{talk}")).status_code == 204
    assert refused(await house.get(f"/v1/budgets/{talk}")) == (404, "budget_not_found")


async def test_what_runs_is_bounded_and_a_budget_that_is_raised_holds_at_the_next_step(
    make_api: MakeApi,
) -> None:
    gate = asyncio.Event()
    model = FakeModel(
        lambda request: ["Done."] if len(request.messages) > 1 else ["Hm", gate, call(1, "look")]
    )
    agent = AgentSpec("agent", "actor", "Be kind.", tools=(tool("look"),), settings=SHORT)
    api = await make_api(model, agent, FakeTools(look=lambda _: "a"))
    await put(api, maxTokens=300)
    started = [await api.started() for _ in range(8)]
    failed: list[dict[str, Any]] = []
    async with asyncio.timeout(BOUND):
        while len(failed) + model.open < 8:
            found = [(await api.get(f"/v1/executions/{one}")).json() for one in started]
            failed = [one for one in found if one["status"] == "failed"]
    assert model.open == 2, "two of some 110 tokens each fit"
    assert {one["error"]["code"] for one in failed} == {"budget_exceeded"}
    await put(api, maxTokens=10_000)
    gate.set()
    ended = [await api.rested(one) for one in started]
    assert sorted(one["status"] for one in ended) == ["completed"] * 2 + ["failed"] * 6
    shown = await get(api)
    assert shown["spent"]["tokens"] == 2 * 2 * COST
    assert shown["spent"]["steps"] == 2 * 3
    assert shown["reserved"]["tokens"] == shown["reserved"]["steps"] == 0


async def test_a_model_without_a_price_is_reserved_at_the_default_rate(make_api: MakeApi) -> None:
    gate = asyncio.Event()
    model = FakeModel(lambda _: ["Hm", gate, "."])
    api = await make_api(model, AGENT, prices=Prices({"other": ModelPrice(0, 0, 0, 0)}))
    await put(api, maxCredits=1)
    one = await api.started()
    async with asyncio.timeout(BOUND):
        while not model.open:
            await between_looks()
    reserved = (await get(api))["reserved"]
    assert reserved["credits"] == reserved["tokens"] / 1000 > 0.1
    gate.set()
    await api.rested(one)


async def test_the_hot_budget_of_sixty_four_runs_is_never_passed_and_ends_exact(
    make_api: MakeApi, database: Database
) -> None:
    api = await make_api(agent=AGENT)
    await put(api, maxTokens=2_000)
    started = [await api.started() for _ in range(64)]
    ended = [await api.rested(one) for one in started]
    done = [one for one in ended if one["status"] == "completed"]
    shown = await get(api)
    assert shown["spent"]["tokens"] == COST * len(done) <= 2_000
    assert shown["reserved"] == {"tokens": 0, "credits": 0.0, "steps": 0, "seconds": 0.0}
    ((charged,),) = database.rows("SELECT SUM(input_tokens + output_tokens) FROM charges")
    assert shown["spent"]["tokens"] == charged
    assert len(done) > 16, "shares lend each other what is free"


async def test_an_agent_that_calls_no_tools_and_has_no_budget_shows_its_requests_budget(
    house: Api,
) -> None:
    done = await run(house, budget={"maxTokens": 500, "maxSeconds": 60})
    shown = await get(house, done["id"])
    assert (shown["kind"], shown["spent"]["tokens"]) == ("tree", COST)
    assert shown["remaining"]["tokens"] == 500 - COST
    plain = await run(house)
    assert refused(await house.get(f"/v1/budgets/{plain['id']}")) == (404, "budget_not_found")


class Wordy(FakeModel):
    """Reports more tokens than its request allows."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        async for event in super().stream(request):
            yield replace(event, usage=Usage(10, 700)) if isinstance(event, Answer) else event


async def test_a_provider_that_reports_more_than_it_may_answer_is_charged_and_counted_in_full(
    make_api: MakeApi,
) -> None:
    api = await make_api(Wordy(lambda _: ["Much."]), AGENT)
    await put(api, maxTokens=500)
    assert (await run(api))["status"] == "completed"
    shown = await get(api)
    assert (shown["spent"]["tokens"], shown["remaining"]["tokens"]) == (710, 0)
    assert shown["reserved"]["tokens"] == 0
    assert refused(await api.execute({"input": "Hi"})) == (429, "quota_exceeded")


@pytest.mark.only(POSTGRESQL)
async def test_of_two_processes_that_create_at_the_limit_one_execution_asks_the_model(
    make_api: MakeApi, database: Database
) -> None:
    gate = asyncio.Event()
    model = FakeModel(lambda _: ["Hm", gate, "."])
    first = await make_api(model, AGENT)
    await put(first, maxTokens=160)
    second = await make_api(model, AGENT)
    both = Api(second.core, first.caller, first.key)
    started = [await first.started(), await both.started()]
    async with asyncio.timeout(BOUND):
        while True:
            found = [(await first.get(f"/v1/executions/{one}")).json() for one in started]
            if [one for one in found if one["status"] == "failed"] and model.open:
                break
            await between_looks()
    assert len(model.requests) == 1
    gate.set()
    ended = [await first.rested(one) for one in started]
    assert sorted(one["status"] for one in ended) == ["completed", "failed"]
    assert {one["error"]["code"] for one in ended if one["error"]} == {"budget_exceeded"}
    await both.client.aclose()


async def test_four_fifths_and_the_whole_of_a_budget_are_noticed_once_in_a_period(
    house: Api, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    def noticed() -> list[str]:
        lines = capsys.readouterr().out.splitlines()
        return [line.split("percent=")[1].split()[0] for line in lines if "budget.reached" in line]

    async def look() -> list[str]:
        for _ in range(2):
            await house.core.maintenance.run(BUDGET_LEVELS)
        return noticed()

    bounds: dict[str, Any] = {"maxTokens": 10_000, "period": "day"}
    await put(house, maxSteps=5, **bounds)
    for _ in range(3):
        await run(house)
    assert await look() == []
    await run(house)
    assert await look() == ["80"]
    await run(house)
    assert await look() == ["100"]
    assert (await house.execute({"input": "Hi"})).status_code == 429
    assert await look() == []
    shown = house.core.metrics.render()
    assert b'outlast_budget_levels_total{kind="workspace",level="100"} 1.0' in shown
    clock.advance(24 * 3600)
    assert await look() == []
    for _ in range(4):
        await run(house)
    assert await look() == ["80"]


BEFORE_MIDNIGHT = 1_793_487_599_000
"""2026-10-31T22:59:59Z, a second before the first of November in Berlin, in its winter time."""


async def test_a_month_of_a_budget_ends_at_midnight_of_its_zone_also_within_a_request(
    make_api: MakeApi,
) -> None:
    clock, gate = FakeClock(BEFORE_MIDNIGHT), asyncio.Event()
    model = FakeModel(lambda _: ["He", gate, "llo"])
    api = await make_api(model, agent=AGENT, clock=clock)
    month: dict[str, Any] = {"period": "month", "timeZone": "Europe/Berlin"}
    shown = await put(api, maxTokens=129, maxSteps=100, **month)
    assert shown["resetsAt"] == "2026-10-31T23:00:00.000Z"
    late = await api.started(input="Hi")
    async with asyncio.timeout(BOUND):
        while not (reserved := (await get(api))["reserved"])["tokens"]:
            await between_looks()
    assert reserved["steps"] == 1
    assert (await run(api))["error"]["code"] == "budget_exceeded", "all of October is reserved"

    clock.advance(1)  # the first of November
    shown = await get(api)
    assert (shown["spent"]["tokens"], shown["resetsAt"]) == (0, "2026-11-30T23:00:00.000Z")
    gate.set()
    assert (await api.rested(late))["status"] == "completed"
    shown = await get(api)
    assert shown["spent"]["tokens"] == COST, "it is recorded in November"
    assert shown["reserved"] == {"tokens": 0, "credits": 0.0, "steps": 0, "seconds": 0.0}
    assert (await run(api))["status"] == "completed"
    assert refused(await api.execute({"input": "Hi"})) == (429, "quota_exceeded")

    clock.advance(30 * 24 * 3600 - 1)
    assert (await get(api))["spent"]["tokens"] == 2 * COST, "a second before December"
    clock.advance(1)
    shown = await get(api)
    assert (shown["spent"]["tokens"], shown["resetsAt"]) == (0, "2026-12-31T23:00:00.000Z")
    assert (await run(api))["status"] == "completed"
