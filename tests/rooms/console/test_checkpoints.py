"""Checkpoints: the list, the difference of two, roll-back with its preview; and running again."""

import re
from html import unescape
from typing import Any

import pytest

from outlast.model.agent import Effect, Limits
from outlast.model.checkpoint import Checkpoint
from outlast.model.memory import WrittenMemory
from outlast.rooms.console.render.checkpoints import memory_behind
from outlast.rooms.console.render.lines import differing
from outlast.rooms.console.routes import checkpoints as routes
from tests.support.api import Api, MakeApi
from tests.support.console import Reader, signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


async def ran(make_api: MakeApi) -> tuple[Api, Reader, str]:
    """An execution that has looked, refunded, and answered; and a reader of its pages."""
    model = FakeModel(
        by_turn(["I look.", call(1, "look")], ["I refund.", call(2, "refund")], ["Refunded."])
    )
    agent = spec(tool("look", effect=Effect.READ_ONLY), tool("refund", effect=Effect.DESTRUCTIVE))
    tools = FakeTools(look=lambda _: "here", refund=lambda _: "paid")
    api = await make_api(model, agent=agent, tools=tools)
    run = await api.started(metadata={"plan": "pro"}, user="ann")
    await api.rested(run)
    return api, await signed_in(api), run


def checkpoint_at(page: str, step: int) -> str:
    found = re.search(rf'name="first" value="(cp_\w+)" aria-label="From [^"]*step {step}"', page)
    assert found, page
    return found[1]


def text_of(page: str) -> str:
    """The page's text, without elements."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", page)))


async def rolled_back(reader: Reader, run: str, step: int) -> None:
    page = await reader.page(f"/console/executions/{run}/checkpoints?behind={step}", follow=True)
    seen = re.search(r'name="seen" value="([^"]+)"', page)
    action = re.search(
        r'method="post" action="(/console/executions/[^"]+/checkpoints/[^"]+)"', page
    )
    assert seen, page
    assert action
    answer = await reader.send(action[1], seen=seen[1])
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == f"/console/executions/{run}"


async def test_the_preview_says_what_is_taken_back_what_it_cost_and_what_stays(
    make_api: MakeApi,
) -> None:
    api, reader, run = await ran(make_api)
    page = text_of(
        await reader.page(f"/console/executions/{run}/checkpoints?behind=2", follow=True)
    )
    assert "Roll back to step 2" in page
    assert "3 steps (1 tool call)" in page
    log = await api.core.services.executions.log(api.caller, run)
    usage = [entry.event.usage.total_tokens for entry in log if hasattr(entry.event, "usage")]
    assert f"They have cost{usage[1] + usage[2]:,} tokens" in page
    assert "What is not taken back" in page
    assert "step 4 refund" in page
    behind_refund = await reader.page(
        f"/console/executions/{run}/checkpoints?behind=4", follow=True
    )
    assert "1 step." in text_of(behind_refund)
    assert "What is not taken back" not in behind_refund
    at_the_end = await reader.page(f"/console/executions/{run}/checkpoints?behind=5", follow=True)
    assert "No step: it goes on from where it stands." in at_the_end


async def test_the_preview_of_many_steps_has_the_same_sums_and_looks_at_the_first_alone(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Reply] = [[f"{n}.", call(n, "look"), call(n + 100, "look")] for n in range(12)]
    asks: Reply = ["I refund.", call(99, "refund"), call(98, "look")]
    agent = spec(tool("look"), tool("refund", approval=True), limits=Limits(max_steps=200))
    tools = FakeTools(look=lambda _: "here", refund=lambda _: "paid")
    api = await make_api(FakeModel(by_turn(*looks, asks, ["Refunded."])), agent=agent, tools=tools)
    run = await api.started()
    await api.rested(run)
    reader = await signed_in(api)
    await api.core.services.executions.pause(api.caller, run)
    await rolled_back(reader, run, 20)
    await api.rested(run)
    for step in (1, 2, 3, 7, 19, 20):
        here, pages = f"/console/executions/{run}/checkpoints?behind={step}", []
        for most in (400, 4):
            monkeypatch.setattr(routes, "_LOOKED_AT", most)
            pages.append(text_of(await reader.page(here, follow=True)))
        whole, bounded = (re.search(r"What is taken back.*? person\.", one) for one in pages)
        assert whole is not None
        assert bounded is not None
        assert whole[0] == bounded[0]
        assert re.search(r"\d\d steps \(\d\d? tool calls\)", whole[0])
        assert "They have cost0 tokens" not in whole[0]
        assert "refund will no longer wait for a person." in whole[0]
        assert "not looked at one by one" not in pages[0]
        assert "later tool calls were not looked at one by one" in pages[1]
        assert "And" not in pages[1]


async def test_a_roll_back_supersedes_what_the_preview_said(make_api: MakeApi) -> None:
    api, reader, run = await ran(make_api)
    await rolled_back(reader, run, 2)
    await api.rested(run)
    page = await reader.page(f"/console/executions/{run}/checkpoints")
    struck = re.findall(
        r'<tr class="superseded">.*?From the checkpoint at step (\d+)', page, re.DOTALL
    )
    assert struck == ["5", "4", "3"]
    void = checkpoint_at(page, 4)
    shown = await reader.page(f"/console/executions/{run}/checkpoints/{void}")
    assert "there is no way back to it" in shown
    assert 'name="seen"' not in shown
    refused = await reader.send(
        f"/console/executions/{run}/checkpoints/{void}",
        seen=str((await api.core.services.executions.log(api.caller, run))[-1].cursor),
    )
    assert refused.status_code == 409


async def test_a_roll_back_of_what_has_gone_on_meanwhile_shows_the_preview_again(
    make_api: MakeApi,
) -> None:
    api, reader, run = await ran(make_api)
    page = await reader.page(f"/console/executions/{run}/checkpoints")
    point = checkpoint_at(page, 2)
    await rolled_back(reader, run, 4)
    await api.rested(run)
    before = await api.core.services.executions.log(api.caller, run)
    late = await reader.send(f"/console/executions/{run}/checkpoints/{point}", seen="1-1")
    assert (late.status_code, "has gone on since" in late.text) == (409, True)
    assert await api.core.services.executions.log(api.caller, run) == before


async def test_two_checkpoints_are_compared_over_a_roll_back(make_api: MakeApi) -> None:
    api, reader, run = await ran(make_api)
    await rolled_back(reader, run, 2)
    await api.rested(run)
    page = await reader.page(f"/console/executions/{run}/checkpoints")
    old, new = checkpoint_at(page, 4), checkpoint_at(page, 6)
    compared = await reader.page(f"/console/executions/{run}/checkpoints?first={old}&second={new}")
    assert "From step 4 to step 6" in compared
    assert "2 steps the same." in compared
    gone = re.findall(r"<del>(.*?)</del>", compared)
    come = re.findall(r"<ins>(.*?)</ins>", compared)
    assert [line for line in gone if line[0] != " "] == ["3 answer of the model", "4 refund {}"]
    assert [line for line in come if line[0] != " "] == ["6 answer of the model"]
    wrong = await reader.page(f"/console/executions/{run}/checkpoints?first={old}&second=cp_1")
    assert 'role="alert"' in wrong


async def test_states_of_a_task_are_compared(api: Api) -> None:
    reader = await signed_in(api)
    made = await api.client.post("/v1/execution", json={"name": "job", "state": {"page": 1}})
    task = made.json()["data"]["id"]
    for page in (2, 3):
        await api.client.put(
            f"/v1/execution/{task}/checkpoint", json={"state": {"page": page, "of": 9}}
        )
    listed = await reader.page(f"/console/executions/{task}/checkpoints")
    points = re.findall(r'name="first" value="(cp_\w+)"', listed)
    compared = await reader.page(
        f"/console/executions/{task}/checkpoints?first={points[1]}&second={points[0]}"
    )
    assert re.findall(r"<(del|ins)>(.*?)</", compared) == [
        ("del", "  &#34;page&#34;: 2"),
        ("ins", "  &#34;page&#34;: 3"),
    ]


async def test_a_live_execution_is_paused_before_it_is_rolled_back(make_api: MakeApi) -> None:
    model = FakeModel(by_turn(["I look.", call(1, "look")], [call(2, "refund")], ["Done."]))
    agent = spec(tool("look"), tool("refund", approval=True))
    api = await make_api(model, agent=agent, tools=FakeTools(look=lambda _: "here"))
    run = await api.started()
    await api.rested(run)
    reader = await signed_in(api)
    page = await reader.page(f"/console/executions/{run}/checkpoints?behind=2", follow=True)
    assert "Pause it first" in page
    assert "refund will no longer wait" in page
    assert '/pause"' in page
    assert 'name="seen"' not in page


async def test_an_input_runs_again_with_another_text(make_api: MakeApi) -> None:
    api, reader, run = await ran(make_api)
    page = await reader.page(f"/console/executions/{run}")
    assert f"/console/executions/{run}/again" in page
    form = await reader.page(f"/console/executions/{run}/again")
    first: dict[str, Any] = (await api.get(f"/v1/executions/{run}")).json()
    assert first["input"] in unescape(form)
    answer = await reader.send(f"/console/executions/{run}/again", input="Another")
    assert answer.status_code == 303
    new = answer.headers["location"].rpartition("/")[2]
    second = (await api.get(f"/v1/executions/{new}")).json()
    assert second["input"] == "Another"
    assert second["agentId"] == first["agentId"]
    assert (second["metadata"], second["user"]) == ({"plan": "pro"}, "ann")
    assert second["conversationId"] != first["conversationId"]
    empty = await reader.send(f"/console/executions/{run}/again", input=" ")
    assert empty.status_code == 422
    mail = await api.started(input="Dear Ann,\r\nBob")
    answer = await reader.send(f"/console/executions/{mail}/again", input="Dear Ann,\r\nBob")
    again = await api.get(f"/v1/executions/{answer.headers['location'].rpartition('/')[2]}")
    assert again.json()["input"] == "Dear Ann,\r\nBob", "line ends stay as they were"


def test_lines_that_differ_are_found_between_those_that_do_not() -> None:
    before = [f"line {n}" for n in range(5000)]
    after = [*before[:2500], "new", *before[2501:]]
    lines, cut = differing(before, after)
    assert not cut
    assert [line for line in lines if line.tag != "span"] == [
        ("del", "line 2500"),
        ("ins", "new"),
    ]
    assert len(lines) == 8
    assert differing(before, before) == ([], False)
    assert differing(before, ["other"])[1]


def test_memory_that_stays_is_what_stands_behind_the_checkpoint() -> None:
    def written(step: int, item: str, version: int) -> WrittenMemory:
        return WrittenMemory(step, "mem_1", item, f"key of {item}", version, deleted=False)

    points = (
        Checkpoint("cp_1", "exec_1", 1, 0, memory=(written(2, "a", 1),)),
        Checkpoint("cp_2", "exec_1", 2, 0, memory=(written(3, "b", 1), written(4, "a", 2))),
        Checkpoint("cp_3", "exec_1", 4, 0, superseded=True, memory=(written(5, "c", 1),)),
    )
    assert [(one.item_id, one.version) for one in memory_behind(points[0], points)] == [
        ("a", 2),
        ("b", 1),
    ]
    assert [one.item_id for one in memory_behind(points[1], points)] == ["b", "a"]
