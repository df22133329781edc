"""What a workspace has used: sums of its ledger, the same before and after hours are added up."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from outlast.engine.maintenance.usage_hours import SUM_USAGE
from outlast.model.agent import Effect
from outlast.model.clock import iso
from outlast.model.price import NANO, ModelPrice, Prices
from outlast.testing import FakeClock
from tests.rooms.conftest import MakeApi
from tests.support.api import Api
from tests.support.databases import Database
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = pytest.mark.anyio

HOUR = 3_600
DAY = 24 * HOUR
ALL = {"from": "2026-01-01", "to": "2026-12-31", "limit": "1000"}
GROUPS = {
    None: "''",
    "agent": "c.agent_id",
    "model": "CASE WHEN c.kind = 'model' THEN c.name ELSE '' END",
    "tool": "CASE WHEN c.kind = 'tool' THEN c.name ELSE '' END",
    "key": "c.key_id",
    "conversation": "c.conversation_id",
}
FIELDS = {"agent": "agentId", "model": "model", "tool": "tool", "key": "keyId"}
FIELDS["conversation"] = "conversationId"
BUCKETS = {"hour": "%Y-%m-%dT%H:00:00.000Z", "day": "%Y-%m-%dT00:00:00.000Z"}
BUCKETS["month"] = "%Y-%m-01T00:00:00.000Z"
PAYS = [call(1, "pay")], ["Paid."]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def shop(make_api: MakeApi, clock: FakeClock) -> Api:
    """Two agents, one of which pays, with prices."""
    prices = Prices({"actor": ModelPrice(7, 11, 2, 3)}, {"pay": NANO // 4})
    api = await make_api(
        FakeModel(by_turn(*PAYS)),
        spec(tool("pay", Effect.IDEMPOTENT)),
        FakeTools(pay=lambda _: "paid"),
        clock=clock,
        prices=prices,
    )
    other = [(replace(spec(tool("pay", Effect.IDEMPOTENT)), name="other"), "1")]
    await api.core.services.agents.put(api.caller.workspace_id, other)
    return api


async def used(api: Api, **query: str | None) -> dict[str, Any]:
    given = {name: value for name, value in (ALL | query).items() if value is not None}
    answer = await api.client.get("/v1/usage", params=given)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ledger(database: Database, bucket: str, group: str | None) -> dict[tuple[str, str], list[int]]:
    """(bucket, group) to tokens in, tokens out, billionths, requests and calls: by hand."""
    rows = database.rows(
        f"SELECT c.at, {GROUPS[group]}, c.kind, c.input_tokens, c.output_tokens, c.credits "
        "FROM charges c"
    )
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 5)
    for at, of, kind, *figures in rows:
        start = datetime.fromtimestamp(at // 1000, UTC).strftime(BUCKETS[bucket])
        found = sums[start, of]
        for place, figure in enumerate([*figures, kind == "model", kind == "tool"]):
            found[place] += int(figure)
    return dict(sums)


def by_hand(page: dict[str, Any]) -> dict[tuple[str, str], list[int]]:
    """The same of an answer."""
    field = FIELDS.get(page["groupBy"] or "")
    return {
        (row["start"], (row[field] if field else None) or ""): [
            row["inputTokens"],
            row["outputTokens"],
            round(row["credits"] * NANO),
            row["modelRequests"],
            row["toolCalls"],
        ]
        for row in page["data"]
    }


async def some_days(api: Api, clock: FakeClock, days: int) -> None:
    """Two executions a day, one of each agent, at different hours."""
    for day in range(days):
        for agent, pause in (("agent", 5 * HOUR), ("other", DAY - 5 * HOUR + day)):
            answer = await api.execute({"input": "Hello"}, agent)
            assert answer.json()["status"] == "completed", answer.text
            clock.advance(pause)


async def add_up(api: Api) -> None:
    """Let maintenance do all that it would do in time."""
    while await api.core.store.usage.sum_hours(api.core.clock.now() - HOUR * 1000, 20):
        pass


async def check(api: Api, database: Database) -> list[dict[str, Any]]:
    """Compare every view with the ledger; return the answers."""
    answers = []
    for bucket in BUCKETS:
        for group in GROUPS:
            page = await used(api, bucket=bucket, groupBy=group)
            assert by_hand(page) == ledger(database, bucket, group), (bucket, group)
            order = list(by_hand(page))
            assert order == sorted(order)
            answers.append(page)
    return answers


async def test_sums_are_the_ledgers_before_and_after_hours_are_added_up(
    shop: Api, clock: FakeClock, database: Database
) -> None:
    await some_days(shop, clock, 5)  # from February into March
    before = await check(shop, database)
    await add_up(shop)
    hours = database.rows("SELECT count(DISTINCT hour) FROM usage_hours")[0][0]
    assert hours == 10
    assert await check(shop, database) == before
    await some_days(shop, clock, 2)
    await check(shop, database)
    await add_up(shop)
    await check(shop, database)
    total = sum(row["credits"] for row in (await used(shop, bucket="month"))["data"])
    spent = database.rows("SELECT sum(credits) FROM executions")[0][0]
    assert round(total * NANO) == spent


async def test_maintenance_adds_up_hours_that_ended_an_hour_ago_and_no_others(
    shop: Api, clock: FakeClock, database: Database
) -> None:
    start = clock.now()
    await shop.execute({"input": "Hello"})
    ended = start - start % (HOUR * 1000) + HOUR * 1000
    clock.advance((ended - start) / 1000 + HOUR - 1)
    await shop.core.maintenance.run(SUM_USAGE)
    assert database.rows("SELECT * FROM usage_hours") == []
    clock.advance(1)
    await shop.core.maintenance.run(SUM_USAGE)
    rows = database.rows("SELECT hour, kind, charges FROM usage_hours ORDER BY kind")
    assert rows == [(ended - HOUR * 1000, "model", 2), (ended - HOUR * 1000, "tool", 1)]


async def test_hours_that_are_added_up_at_once_are_added_up_once(
    shop: Api, clock: FakeClock, database: Database
) -> None:
    await some_days(shop, clock, 3)
    for _ in range(8):
        await asyncio.gather(
            *(shop.core.store.usage.sum_hours(clock.now() - HOUR * 1000, 20) for _ in range(4))
        )
    await check(shop, database)
    assert database.rows("SELECT sum(charges) FROM usage_hours") == database.rows(
        "SELECT count(*) FROM charges"
    )


@pytest.mark.parametrize("group", GROUPS)
async def test_pages_hold_each_row_once(shop: Api, clock: FakeClock, group: str | None) -> None:
    await some_days(shop, clock, 4)
    await add_up(shop)
    for bucket in BUCKETS:
        whole = await used(shop, bucket=bucket, groupBy=group)
        assert not whole["hasMore"]
        rows: list[Any] = []
        cursor: str | None = None
        while True:
            page = await used(shop, bucket=bucket, groupBy=group, limit="3", after=cursor)
            rows += page["data"]
            if not page["hasMore"]:
                assert page["nextCursor"] is None
                break
            assert len(page["data"]) == 3
            cursor = page["nextCursor"]
        assert rows == whole["data"]


async def test_a_time_is_widened_to_whole_hours_and_said_so(shop: Api, clock: FakeClock) -> None:
    at = clock.now()
    await shop.execute({"input": "Hello"})
    hour = at - at % (HOUR * 1000)
    page = await used(shop, **{"from": iso(at + 1), "to": iso(at + 2)}, bucket="hour")
    assert (page["from"], page["to"]) == (iso(hour), iso(hour + HOUR * 1000))
    assert [row["start"] for row in page["data"]] == [iso(hour)]
    clock.advance(HOUR)
    page = await used(shop, **{"from": iso(hour + HOUR * 1000), "to": None})
    assert page["data"] == []
    page = await used(shop, **{"from": None, "to": None})
    assert page["to"] == iso(hour + 2 * HOUR * 1000)
    assert page["bucket"] == "day"
    assert page["groupBy"] is None
    assert len(page["data"]) == 1


async def test_what_costs_nothing_has_its_tokens_counted(
    make_api: MakeApi, database: Database
) -> None:
    api = await make_api(prices=Prices({"actor": ModelPrice(0, 0, 0, 0)}))
    assert (await api.execute({"input": "Hello"})).json()["creditsUsed"] == 0
    now = await api.client.get("/v1/usage", params={"groupBy": "model"})
    (row,) = now.json()["data"]
    assert (row["model"], row["modelRequests"], row["credits"]) == ("actor-1", 1, 0)
    assert row["inputTokens"] + row["outputTokens"] == 15


async def test_a_deleted_execution_stays_counted_and_names_its_agent(
    shop: Api, clock: FakeClock
) -> None:
    execution = (await shop.execute({"input": "Hello"})).json()
    before = await used(shop, groupBy="agent")
    assert [row["agent"] for row in before["data"]] == ["agent"]
    assert (await shop.client.delete(f"/v1/executions/{execution['id']}")).status_code == 204
    assert await used(shop, groupBy="agent") == before
    clock.advance(DAY)
    await add_up(shop)
    assert await used(shop, groupBy="agent") == before


async def test_a_workspace_sees_its_own_usage_alone(shop: Api, clock: FakeClock) -> None:
    await some_days(shop, clock, 1)
    await add_up(shop)
    stranger = await shop.core.services.workspaces.put("strangers")
    key = await shop.core.services.keys.create(stranger.id, "theirs")
    answer = await shop.client.get(
        "/v1/usage", params=ALL, headers={"Authorization": f"Bearer {key.secret}"}
    )
    assert answer.json()["data"] == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"from": "2026-02-02", "to": "2026-02-01"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"bucket": "week"}, "bucket"),
        ({"groupBy": "user"}, "groupBy"),
        ({"after": "12"}, "after"),
        ({"after": "1234567890123456~"}, "after"),
        ({"after": "1~a\0"}, "after"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
    ],
)
async def test_a_query_that_cannot_be_is_refused_by_its_field(
    api: Api, query: dict[str, str], param: str
) -> None:
    answer = await api.client.get("/v1/usage", params=query)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
