"""Pages of an execution's steps: what stands on them is what the whole log shows."""

import re
from html import unescape
from typing import Final

import pytest

from outlast.model.agent import Limits
from outlast.rooms.console.render.checkpoints import preview
from outlast.rooms.console.render.transcript import Transcript
from outlast.rooms.console.render.words import credits as written
from outlast.rooms.console.routes import checkpoints as routes
from tests.support.api import Api, MakeApi
from tests.support.console import Reader, signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = pytest.mark.anyio
ROUNDS: Final = 50
_STEP: Final = re.compile(r'<li class="step.*?</li>', re.DOTALL)


async def api_of(make_api: MakeApi, *last: Reply) -> Api:
    """Agents whose answers have one to three calls each, 150 steps until the last answers."""
    rounds: list[Reply] = [
        [f"Look {n}.", *(call(10 * n + m, "look") for m in range(n % 3 + 1))] for n in range(ROUNDS)
    ]
    return await make_api(
        FakeModel(by_turn(*rounds, *last)),
        agent=spec(tool("look"), tool("pay", approval=True), limits=Limits(max_steps=400)),
        tools=FakeTools(look=lambda _: "here", pay=lambda _: "paid"),
    )


async def pages(reader: Reader, run: str) -> dict[int, str]:
    """Each step as the pages draw it, from the newest back to the first."""
    drawn: dict[int, str] = {}
    path = f"/console/executions/{run}"
    while path:
        page = await reader.page(path)
        found = {number_of(one): one for one in _STEP.findall(page)}
        assert not found.keys() & drawn.keys()
        assert 0 < len(found) <= 100
        drawn |= found
        earlier = re.search(r'href="([^"]+)">Earlier steps<', page)
        path = unescape(earlier[1]) if earlier else ""
    return drawn


def number_of(step: str) -> int:
    found = re.search(r'id="step-(\d+)"', step)
    assert found
    return int(found[1])


def streamed(content: str) -> dict[int, str]:
    """Each step as the stream has drawn it last."""
    content = content.replace("&#10;", "\n")
    return {number_of(one): one for one in _STEP.findall(content)}


async def test_pages_of_steps_are_those_of_the_whole_log(make_api: MakeApi) -> None:
    api = await api_of(make_api, ["Found."])
    run = await api.started()
    await api.rested(run)
    services = api.core.services
    points = await services.executions.checkpoints(api.caller, run)
    for step in (130, 60):  # what stood behind is superseded, and made again with new numbers
        (point, *_) = [one for one in points if one.step >= step]
        await services.executions.resume(api.caller, run, point.id)
        await api.rested(run)
    reader = await signed_in(api)
    whole = streamed(await reader.page(f"/console/executions/{run}/live"))
    assert await pages(reader, run) == whole
    assert sum("superseded" in one for one in whole.values()) > 100
    newest = await reader.page(f"/console/executions/{run}")
    assert "<span>150 steps</span>" in newest
    for number in (1, 77, 130, 200, max(whole)):
        page = await reader.page(f"/console/executions/{run}?step={number}")
        assert whole[number] in page
        assert f"<h2>Step {number}</h2>" in page
        alone = await reader.page(f"/console/executions/{run}/steps/{number}")
        assert f"<h2>Step {number}</h2>" in alone
    later = re.search(r'href="([^"]+)">Later steps<', await reader.page(f"{at(run)}?until=50"))
    assert later
    assert number_of(_STEP.findall(await reader.page(later[1]))[0]) == 51


def at(run: str) -> str:
    return f"/console/executions/{run}"


async def test_a_page_reads_no_more_of_the_log_than_its_steps_have(make_api: MakeApi) -> None:
    api = await api_of(make_api, ["Found."])
    run = await api.started()
    await api.rested(run)
    pages = api.core.services.step_pages
    newest = await pages.newest(api.caller, run, 20)
    log = await api.core.services.executions.log(api.caller, run)
    assert newest.end == log[-1].cursor
    assert newest.execution.steps - 20 - 4 < newest.begin.step <= newest.execution.steps - 20
    for first in (2, 60, 61, 62, 149):
        stretch = await pages.between(api.caller, run, first, first + 1)
        assert first - 4 <= stretch.begin.step < first
        assert stretch.end is None or first + 1 < stretch.end <= first + 5
        before = [one for one in log if one.cursor <= stretch.begin.cursor]
        assert before[-1].at == stretch.begin.at
        assert max(getattr(one.event, "step", 0) for one in before) < first


@pytest.mark.only(SQLITE)
async def test_a_live_page_of_the_newest_steps_goes_on_and_counts_all(make_api: MakeApi) -> None:
    api = await api_of(make_api, [call(900, "pay")], ["Paid."])
    run = await api.started()
    waits = (await api.rested(run))["pendingApprovals"][0]["toolCallId"]
    reader = await signed_in(api)
    page = await reader.page(at(run))
    stream = re.search(r'hx-sse:connect="([^"]+)"', page)
    assert stream
    assert "behind=" in stream[1]
    assert (await reader.send(f"/console/approvals/{run}/{waits}", do="approve")).status_code == 303
    done = await api.rested(run)
    assert done["status"] == "completed"
    content = await reader.page(unescape(stream[1]))
    drawn = streamed(content)
    assert [*drawn] == [151, 152]
    assert "waits for approval" not in drawn[151]
    cost = f"{done['creditsUsed']:g} credits"
    for found in (content.rpartition('id="head"')[2], await reader.page(at(run))):
        assert "<span>152 steps</span>" in found
        assert cost in found
    first, *_ = await api.core.services.executions.checkpoints(api.caller, run)
    await api.core.services.executions.resume(api.caller, run, first.id)
    waits = (await api.rested(run))["pendingApprovals"][0]["toolCallId"]
    await reader.send(f"/console/approvals/{run}/{waits}", do="deny")
    assert (await api.rested(run))["status"] == "completed"
    again = await reader.page(unescape(stream[1]))
    for found in (again.rpartition('id="head"')[2], await reader.page(at(run))):
        assert "<span>152 steps</span>" in found


async def test_pages_of_checkpoints_have_each_once_with_what_its_step_was(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_LOOKED_AT", 30)  # steps; of more the database has the sums
    api = await api_of(make_api, ["Found."])
    run = await api.started()
    await api.rested(run)
    services = api.core.services.executions
    points = await services.checkpoints(api.caller, run)
    await services.resume(api.caller, run, points[60].id)
    await api.rested(run)
    reader, path = await signed_in(api), f"{at(run)}/checkpoints"
    found: list[tuple[str, str]] = []
    while path:
        page = await reader.page(path)
        rows = re.findall(r'name="first" value="(\w+)".*?struck">([^<]*)<', page, re.DOTALL)
        assert 0 < len(rows) <= 100
        found += rows
        older = re.search(r'href="([^"]+)">Older<', page)
        path = unescape(older[1]) if older else ""
    known = await services.checkpoints(api.caller, run)
    assert [one for one, _ in found] == [one.id for one in reversed(known)]
    assert {about for _, about in found} == {"look", "Found.", *(f"Look {n}." for n in range(50))}
    whole = Transcript()
    for entry in await services.log(api.caller, run):
        whole.add(entry)
    for point in known[5::40]:
        page = unescape(
            re.sub("<[^>]+>", "", await reader.page(f"{at(run)}/checkpoints/{point.id}"))
        )
        lost = preview(point, whole, {})
        if point.superseded:
            assert "no way back to it" in page
        else:
            assert f"{lost.steps} steps ({lost.calls} tool calls)." in page
            assert f"They have cost{lost.tokens:,} tokens, {written(lost.credits)} cr" in page
            assert ("not looked at one by one" in page) == (lost.steps > 40)


@pytest.mark.only(SQLITE)
async def test_an_odd_place_in_a_stream_s_address_is_refused(api: Api) -> None:
    run = await api.started()
    await api.rested(run)
    reader = await signed_in(api)
    for odd in ("1-2", "a", "1-1-1-1-1-1-1-1-x", "9" * 99):
        assert (await reader.get(f"{at(run)}/live?behind={odd}")).status_code == 400
