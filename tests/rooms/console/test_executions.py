"""The list of executions, an execution's page, and its stream."""

import asyncio
import re
from html import unescape

import orjson
import pytest

from outlast.agents.port import ModelRequest
from outlast.model.agent import Effect
from outlast.model.error import ModelRejected
from outlast.model.execution import Status
from outlast.model.list_words import NotAFilter, filter_of, without_times
from outlast.model.workspace import Scope
from outlast.rooms.console.routes import executions as routes
from outlast.testing import FakeClock
from tests.support.api import Api, MakeApi
from tests.support.console import signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]
ODD = "<img src=x onerror=alert(1)> \u202e & \x07\nline\u2028 end"


def rows(page: str) -> list[str]:
    return re.findall(r'href="/console/executions/(exec_\w+)"', page)


async def test_pages_by_cursor_show_every_execution_once_and_lead_both_ways(api: Api) -> None:
    runs = [await api.started() for _ in range(45)]
    reader = await signed_in(api)
    page = await reader.page("/console/executions")
    shown = [rows(page)]
    while older := re.search(r'href="([^"]+)">Older<', page):
        page = await reader.page(unescape(older[1]))
        shown.append(rows(page))
    assert [len(one) for one in shown] == [20, 20, 5]
    assert [run for one in shown for run in one] == runs[::-1]
    newer = re.search(r'href="([^"]+)">Newer<', page)
    assert newer
    assert rows(await reader.page(unescape(newer[1]))) == shown[1]


async def test_the_filter_finds_what_it_says_and_says_what_it_cannot(api: Api) -> None:
    done = await api.started(user="ann")
    await api.rested(done)
    reader = await signed_in(api)
    for q in (
        "status:completed",
        "user:ann",
        "agent",
        f"{done}",
        "since:1h status:completed,failed",
        "parent:none",
        "agent:agent status:completed",
    ):
        assert rows(await reader.page(f"/console/executions?q={q}")) == [done], q
    assert "Name the agent that has it" in await reader.page("/console/executions?q=tool:refund")
    for q in ("status:failed", "user:bob", "before:1h", "status:running,failed"):
        assert "No execution fits" in await reader.page(f"/console/executions?q={q}")
    for q in (
        "tool:refund",
        "status:odd",
        "since:soon",
        "cost:>1",
        "id:exec_1",
        "agent:nix",
        "meta.a:b",
    ):
        assert 'role="alert"' in await reader.page(f"/console/executions?q={q}"), q


def test_the_filter_field_is_read() -> None:
    text = 'agent:"my shop" status:failed,paused since:24h meta.plan:pro user:ann parent:none'
    found = filter_of(text, 90_000_000)
    assert (found.agent, found.user, found.since) == ("my shop", "ann", 3_600_000)
    assert (found.roots, found.parent, found.is_wide) == (True, None, False)
    assert without_times(text) == text.replace(" since:24h", "")
    assert filter_of("before:1970-01-01T01:00Z", 0).before == 3_600_000
    assert filter_of("since:1970-01-02", 0).since == 86_400_000
    assert filter_of("agent:a status:failed,completed", 0).is_wide
    assert not filter_of("agent:a status:failed,cancelled", 0).is_wide
    assert not filter_of("agent:a status:running", 0).is_wide
    assert found.status == (Status.FAILED, Status.PAUSED)
    assert found.metadata == (("plan", "pro"),)
    assert filter_of("support", 0).agent == "support"
    with pytest.raises(NotAFilter):
        filter_of("status:failed,paused,running,queued", 0)


async def test_the_hours_of_a_day_filter_the_list(api: Api) -> None:
    done = await api.started()
    await api.rested(done)
    reader = await signed_in(api)
    page = await reader.page("/console/news/histogram?q=agent+since:7d")
    bars = re.findall(r'<a href="([^"]+)" aria-label="([^"]+)"', page)
    assert len(bars) == 24
    assert [name.partition(": ")[2] for _, name in bars if not name.endswith(": 0")] == ["1"]
    for href, name in bars[-2:]:
        assert "q=agent+since" in href
        there = await reader.page(unescape(href))
        assert rows(there) == ([] if name.endswith(": 0") else [done])
    assert 'href="/console/executions?q=agent">Any time' in page


async def test_what_an_agent_has_completed_is_found_a_part_of_its_executions_at_a_time(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(request: ModelRequest) -> Reply:
        return [ModelRejected("no")] if "bad" in str(request.messages[-1]) else ["Hello."]

    monkeypatch.setattr(routes, "_LOOKED_AT", 4)
    api = await make_api(FakeModel(play))
    runs = []
    for text in ("good", "good", "good", *(["bad"] * 7)):
        runs.append(await api.started(input=text))
        await api.rested(runs[-1])
    reader = await signed_in(api)

    async def walked(path: str) -> list[list[str]]:
        shown = []
        while path:
            page = await reader.page(path)
            shown.append(rows(page))
            assert "No execution fits" not in page
            more = re.search(r'href="([^"]+)">Look at the next (?:older|newer) ones<', page)
            path = unescape(more[1]) if more else ""
        return shown

    here = "/console/executions?q=agent:agent status:completed"
    assert await walked(here) == [[], [runs[2]], [runs[1], runs[0]]]
    assert await walked(f"{here} since:1h") == [[], [runs[2]], [runs[1], runs[0]]]
    assert await walked(f"{here}&before={runs[0]}") == [[runs[2], runs[1]], [], []]
    first = await reader.page(here)
    assert "looked at 4 of its executions, the newest" in first
    assert "None so far" in first


async def test_several_are_chosen_and_each_says_what_became_of_it(make_api: MakeApi) -> None:
    api = await make_api()
    held = [await api.started() for _ in range(2)]
    done = await api.started(user="ann")
    for run in (*held, done):
        await api.rested(run)
    reader = await signed_in(api)
    choice = "&".join(f"id={run}" for run in (*held, done))
    shown = await reader.page(f"/console/chosen?do=delete&{choice}")
    assert "Delete 3 executions?" in shown
    assert "cannot be taken back" in shown
    assert (await reader.get("/console/chosen?do=delete")).status_code == 400
    assert (await reader.get(f"/console/chosen?do=odd&{choice}")).status_code == 400
    sent = await reader.get(f"/console/chosen?do=export&{choice}")
    lines = [orjson.loads(line) for line in sent.text.splitlines()]
    assert [line["id"] for line in lines] == [*held, done]
    assert lines[2]["user"] == "ann"
    late = (await reader.send("/console/chosen", do="cancel", id=[done])).text
    assert "it cannot be cancelled" in late
    gone = (await reader.send("/console/chosen", do="delete", id=held)).text
    assert gone.count(">deleted</b>") == 2
    assert rows(await reader.page("/console/executions")) == [done]
    scopes = frozenset({Scope.EXECUTIONS_READ})
    made = await api.core.services.keys.create(api.caller.workspace_id, "reader", scopes)
    other = await signed_in(api, made.secret)
    assert (await other.send("/console/chosen", do="delete", id=[done])).status_code == 403
    page = await other.page("/console/executions")
    assert 'value="delete"' not in page
    assert 'value="export"' in page
    assert "Hello" in await other.page(f"/console/executions/{done}/peek")


async def test_what_is_new_is_counted_and_rows_are_brought_up_to_date(api: Api) -> None:
    first = await api.started()
    await api.rested(first)
    reader = await signed_in(api)
    page = await reader.page("/console/executions")
    polled = re.search(r'hx-get="([^"]+/news/executions[^"]+)"', page)
    assert polled
    url = unescape(polled[1])
    assert (await reader.get(re.sub(r"at=\d+", "at=99999999999999", url))).status_code == 204
    new = await api.started()
    answer = await reader.page(url)
    assert "1 new" in answer
    assert f"#status-{new}" not in answer
    changed = await reader.page(re.sub(r"at=\d+", "at=0", url))
    for cell in ("status", "steps", "tokens", "credits", "took"):
        assert f'hx-target="#{cell}-{first}"' in changed
        assert f'id="{cell}-{first}"' in page


async def test_a_change_that_is_committed_behind_the_list_and_dated_before_it_is_shown(
    make_api: MakeApi,
) -> None:
    gate, clock = asyncio.Event(), FakeClock()
    api = await make_api(FakeModel(lambda _: [gate, "Hello"]), clock=clock)
    run = await api.started()
    clock.advance(5)
    reader = await signed_in(api)
    page = await reader.page("/console/executions")
    polled = re.search(r'hx-get="([^"]+/news/executions[^"]+)"', page)
    assert polled
    clock.set_by(-4)
    gate.set()
    await api.rested(run)
    clock.set_by(4)
    assert "completed" in await reader.page(unescape(polled[1]))


async def test_what_models_and_users_wrote_is_shown_as_text(make_api: MakeApi) -> None:
    api = await make_api(
        FakeModel(by_turn([ODD, " [x](javascript:alert(1)) ![i](http://e/x.png)"]))
    )
    run = await api.started(input=ODD, user=ODD.replace("\n", " "))
    await api.rested(run)
    reader = await signed_in(api)
    for path in (
        f"/console/executions/{run}",
        f"/console/executions/{run}?step=1",
        "/console/executions",
    ):
        page = await reader.page(path)
        assert "<img src=x" not in page
        assert "&lt;img src=x" in page
        assert "\\u202e" in page
        assert "\u202e" not in page
        assert "javascript:" not in page or 'href="javascript' not in page
        assert not re.search(r"<img(?! src=\"/console/static)", page)


def events(content: str) -> list[tuple[str, str]]:
    found = re.findall(r"^id: (\S+)\ndata: (.*)$", content, re.MULTILINE)
    return [(cursor, data) for cursor, data in found]


def appended(data: str) -> str:
    return "".join(
        unescape(text)
        for text in re.findall(r'hx-target="#p1-0" hx-swap="beforeend">(.*?)</hx-partial>', data)
    )


async def test_the_stream_goes_on_behind_a_cursor_without_gap_or_repeat(make_api: MakeApi) -> None:
    api = await make_api(FakeModel(by_turn([f"w{n} " for n in range(50)])))
    run = await api.started()
    await api.rested(run)
    reader = await signed_in(api)
    log = await api.core.services.executions.log(api.caller, run)
    whole = "".join(f"w{n} " for n in range(50))
    for entry in log[2:-4:7]:
        path = f"/console/executions/{run}/live?after={entry.cursor}"
        answer = await reader.page(path)
        assert answer.endswith("event: end\ndata: ended\n\n")
        ((_, data),) = events(answer)
        seen = "".join(
            piece
            for one in log
            if one.cursor <= entry.cursor
            for piece in getattr(one.event, "pieces", ())
        )
        drawn = re.search(r'id="p1-0">(?:<p>)?(.*?)(?:</p>|</div>)', data)
        assert drawn, "the finished step is drawn whole"
        assert drawn[1].split() == whole.split()
        assert whole.startswith(seen)
    end = str(log[-1].cursor)
    assert events(await reader.page(f"/console/executions/{run}/live?after={end}")) == []
    assert (await reader.get(f"/console/executions/{run}/live?after=9-9")).status_code == 400


async def test_a_page_and_the_stream_from_its_start_show_the_same_steps(make_api: MakeApi) -> None:
    api = await make_api(FakeModel(by_turn([ODD])))
    run = await api.started()
    await api.rested(run)
    reader = await signed_in(api)
    page = await reader.page(f"/console/executions/{run}")
    streamed = await reader.page(f"/console/executions/{run}/live")
    step = re.search(r'<li class="step.*?</li>', page, re.DOTALL)
    data = "".join(data for _, data in events(streamed))
    assert step
    found = re.search(r'<li class="step.*?</li>', unescape_breaks(data), re.DOTALL)
    assert found
    assert found[0] == step[0]


def unescape_breaks(data: str) -> str:
    for raw, escaped in (("\n", "&#10;"), ("\u2028", "&#x2028;")):
        data = data.replace(escaped, raw)
    return data


async def test_actions_do_what_the_api_does_and_a_late_one_says_so(make_api: MakeApi) -> None:
    api = await make_api()
    run = await api.started()
    await api.rested(run)
    reader = await signed_in(api)
    late = await reader.send(f"/console/executions/{run}/cancel")
    assert (late.status_code, "it cannot be cancelled" in late.text) == (409, True)
    gone = await reader.send(f"/console/executions/{run}/delete")
    assert (gone.status_code, gone.headers["location"]) == (303, "/console/executions")
    assert (await reader.get(f"/console/executions/{run}")).status_code == 404


async def test_a_key_that_only_reads_sees_no_action(api: Api) -> None:
    run = await api.started()
    await api.rested(run)
    scopes = frozenset({Scope.EXECUTIONS_READ})
    made = await api.core.services.keys.create(api.caller.workspace_id, "reader", scopes)
    reader = await signed_in(api, made.secret)
    page = await reader.page(f"/console/executions/{run}")
    assert f"/console/executions/{run}/delete" not in page
    assert "Delete" in await (await signed_in(api)).page(f"/console/executions/{run}")


async def test_another_workspace_s_execution_is_not_there(api: Api) -> None:
    run = await api.started()
    other = await api.core.services.workspaces.put("other")
    made = await api.core.services.keys.create(other.id, "theirs")
    reader = await signed_in(api, made.secret)
    for path in ("", "/live", "/steps/1"):
        assert (await reader.get(f"/console/executions/{run}{path}")).status_code == 404
    for action in ("pause", "resume", "cancel", "delete"):
        answer = await reader.send(f"/console/executions/{run}/{action}")
        assert answer.status_code == 404
    assert run not in await reader.page("/console/executions")


async def test_superseded_steps_stay_and_are_struck_through(make_api: MakeApi) -> None:
    model = FakeModel(by_turn(["I look.", call(1, "look")], ["Found."]))
    api = await make_api(model, agent=spec(tool("look")), tools=FakeTools(look=lambda _: "here"))
    run = await api.started()
    await api.rested(run)
    services = api.core.services.executions
    points = await services.checkpoints(api.caller, run)
    (second,) = [point for point in points if point.step == 2]
    await services.resume(api.caller, run, second.id)
    await api.rested(run)
    reader = await signed_in(api)
    page = await reader.page(f"/console/executions/{run}")
    found = re.findall(r'<li class="step ([\w ]+)" id="step-(\d+)"', page)
    classes = {number: name for name, number in found}
    assert classes == {
        "1": "model",
        "2": "tool",
        "3": "model superseded",
        "4": "model",
    }


async def test_calls_that_a_cancel_cut_off_are_not_shown_as_running(make_api: MakeApi) -> None:
    reached = asyncio.Event()

    async def pay(_: object) -> str:
        reached.set()
        await asyncio.Event().wait()
        return "never"

    model = FakeModel(by_turn([call(1, "pay"), call(2, "ship")], ["Done."]))
    api = await make_api(
        model,
        agent=spec(tool("pay", Effect.DESTRUCTIVE), tool("ship", approval=True)),
        tools=FakeTools(pay=pay),
    )
    run = await api.started()
    await asyncio.wait_for(reached.wait(), BOUND)
    await api.core.services.executions.cancel(api.caller, run)
    reader = await signed_in(api)
    for path in ("", "/live", "/timeline"):
        page = await reader.page(f"/console/executions/{run}{path}")
        states = re.findall(r'class="call-state [\w ]+">([\w ]+)<', page)[-3:]
        assert sorted({*states} - {"done"}) == ["cut off", "not run"]
        assert "Approve</button>" not in page
    await api.core.services.executions.resume(api.caller, run)
    page = await reader.page(f"/console/executions/{run}")
    assert re.findall(r'class="call-state [\w ]+">([\w ]+)<', page) == ["waits", "waits"]
    assert "superseded" not in page.split('id="transcript"')[1]
