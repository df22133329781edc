"""Usage: the same figures as the API's."""

import csv
import re
from collections.abc import Iterator
from decimal import Decimal
from html import unescape
from io import StringIO

import pytest

from outlast.model.charge import Charge
from outlast.model.consumption import Bucket
from outlast.model.error import ModelRejected
from outlast.model.usage import Usage
from outlast.rooms.console.render.usage import HEIGHT, WIDTH, bars
from outlast.rooms.console.routes import usage as routes
from outlast.store.request_charges import RequestCharge
from tests.support.api import Api, MakeApi
from tests.support.console import signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, Reply

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


@pytest.mark.parametrize("by", ["", "agent", "model", "tool", "key"])
@pytest.mark.parametrize("span", ["24h", "7d", "30d", "12mo", "odd"])
async def test_the_table_adds_up_to_what_the_api_says(api: Api, span: str, by: str) -> None:
    for _ in range(3):
        await api.rested(await api.started())
    whole = (await api.get("/v1/usage")).json()["data"]
    reader = await signed_in(api)
    page = await reader.page(f"/console/usage?range={span}&by={by}")
    rows = re.findall(r"<tr><td class=\"nowrap\">(.*?)</tr>", page)
    cells = [re.findall(r'class="number">([^<]+)<', row)[-5:] for row in rows]
    assert sum(int(row[0]) for row in cells) == sum(one["modelRequests"] for one in whole) == 3
    assert sum(int(row[2]) for row in cells) == sum(one["inputTokens"] for one in whole)
    if by == "agent":
        assert ">agent<" in rows[0]


@pytest.mark.parametrize("by", ["", "agent", "model"])
async def test_the_csv_adds_up_to_what_the_api_says(
    api: Api, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        await api.rested(await api.started())
    (whole,) = (await api.get("/v1/usage?bucket=month")).json()["data"]
    monkeypatch.setattr(routes, "_MOST", 1)  # a row of each page
    reader = await signed_in(api)
    answer = await reader.get(f"/console/usage/csv?range=24h&by={by}")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="usage-24h')
    rows = list(csv.DictReader(StringIO(answer.text)))
    assert sum(int(row["model requests"]) for row in rows) == whole["modelRequests"] == 2
    assert sum(int(row["tokens out"]) for row in rows) == whole["outputTokens"]
    assert float(sum(Decimal(row["credits"]) for row in rows)) == whole["credits"] > 0
    assert {row.get("agent") for row in rows} == ({"agent"} if by == "agent" else {None})
    counted = [row["executions"] for row in rows if "executions" in row]
    assert sum(map(int, counted)) == (0 if by else 2)
    monkeypatch.setattr(routes, "_MOST_COUNTED", 2)
    uncounted = (await reader.get(f"/console/usage/csv?range=24h&by={by}")).text
    rows = list(csv.DictReader(StringIO(uncounted)))
    assert {row.get("executions") for row in rows} == ({None} if by else {""}), "not known"


@pytest.mark.parametrize(
    ("by", "shown"), [("agent", "no agent"), ("model", "small"), ("tool", "models")]
)
async def test_what_belongs_to_no_execution_has_a_row(
    make_api: MakeApi, by: str, shown: str
) -> None:
    api = await make_api()
    charges = api.core.store.request_charges
    now, key = api.core.clock.now(), api.caller.key_id
    charge = Charge("step_1", None, "model", "small", 7, now, Usage(5))
    await charges.settle(RequestCharge(api.caller.workspace_id, key, charge))
    reader = await signed_in(api)
    page = await reader.page(f"/console/usage?range=24h&by={by}")
    assert f"<td>{shown}</td>" in page


async def test_without_usage_the_page_says_so(api: Api) -> None:
    reader = await signed_in(api)
    assert "Nothing was used in this time" in await reader.page("/console/usage?by=conversation")


def test_without_usage_there_are_no_bars() -> None:
    assert bars([], Bucket.DAY, [0]) == []


async def test_executions_and_failures_lead_to_the_list(make_api: MakeApi) -> None:
    replies: Iterator[Reply] = iter([["Well."], [ModelRejected("no")], ["Well."]])
    api = await make_api(FakeModel(lambda _: next(replies)))
    for _ in range(3):
        await api.rested(await api.started())
    reader = await signed_in(api)
    for span in ("24h", "7d", "12mo"):
        page = await reader.page(f"/console/usage?range={span}")
        lines = (await reader.get(f"/console/usage/csv?range={span}")).text
        (line,) = csv.DictReader(StringIO(lines))
        assert (line["executions"], line["failed"]) == ("3", "1")
        found = re.findall(r'<td class="number"><a href="([^"]+)">(\d+)</a>', page)
        assert [count for _, count in found] == ["3", "1"], span
        for place, count in found:
            rows = await reader.page(unescape(place))
            assert len(set(re.findall(r"/console/executions/(exec_\w{26})", rows))) == int(count)
        failed = re.search(r'<rect class="failed" x="[\d.]+" y="([\d.]+)"', page)
        assert failed is not None
        assert float(failed[1]) == HEIGHT - HEIGHT // 3
    assert "Executions by the time" not in await reader.page("/console/usage?by=agent")


async def test_each_bucket_has_a_bar_and_the_highest_is_as_high_as_the_chart(api: Api) -> None:
    await api.rested(await api.started())
    reader = await signed_in(api)
    page = await reader.page("/console/usage?range=30d")
    charts = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(charts) == 2
    number = r'="([\d.]+)"'
    for chart in charts:
        drawn = re.findall(rf"<rect x{number} y{number} width{number} height{number}", chart)
        assert len(drawn) in (30, 31)
        assert max(float(height) for *_, height in drawn) == HEIGHT
        assert max(float(x) + float(width) for x, _, width, _ in drawn) <= WIDTH
