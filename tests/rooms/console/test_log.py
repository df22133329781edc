"""The log of an execution: entries and frames behind a cursor."""

import re
from html import unescape
from urllib.parse import quote

import pytest

from outlast.model.agent import Limits
from outlast.rooms.console.render.markdown import _parser, markdown
from tests.support.api import MakeApi
from tests.support.console import signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


async def test_pages_of_the_log_show_every_entry_once(make_api: MakeApi) -> None:
    turns: list[Reply] = [[f"Look {n}.", call(n, "look")] for n in range(60)]
    api = await make_api(
        FakeModel(by_turn(*turns, ["Found", " it."])),
        agent=spec(tool("look"), limits=Limits(max_steps=200)),
        tools=FakeTools(look=lambda _: "here"),
    )
    run = await api.started()
    await api.rested(run)
    reader = await signed_in(api)
    path, cursors, kinds, pages = f"/console/executions/{run}/log", [], [], 0
    while path:
        page = await reader.page(path)
        pages += 1
        cursors += re.findall(r'<td class="nowrap"><code>(\d+-\d+)</code>', page)
        kinds += re.findall(r'<td class="entry"><b>([\w.]+)</b>', page)
        later = re.search(r'href="([^"]+)">Next<', page)
        path = unescape(later[1]) if later else ""
    log = await api.core.services.executions.log(api.caller, run)
    last = {}
    for entry in log:  # pieces of one text are one row, with the last one's cursor
        key = (entry.event.kind, getattr(entry.event, "step", 0), getattr(entry.event, "part", 0))
        last[key if hasattr(entry.event, "pieces") else entry.cursor] = entry
    assert cursors == [str(entry.cursor) for entry in last.values()]
    assert kinds == [entry.event.kind for entry in last.values()]
    assert pages == 1 + (len(kinds) - 1) // 100 > 2
    assert (await reader.get(f"/console/executions/{run}/log?after=9-9")).status_code == 400
    assert (await reader.get(f"/console/executions/{run}/log?after=x")).status_code == 400


async def test_a_search_finds_what_the_log_has_page_by_page(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[Reply] = [[f"Look <{n}>", " closely.", call(n, "look")] for n in range(12)]
    api = await make_api(
        FakeModel(by_turn(*turns, ["Done."])),
        agent=spec(tool("look"), limits=Limits(max_steps=200)),
        tools=FakeTools(look=lambda _: "a  *needle*\nHere"),
    )
    run = await api.started()
    await api.rested(run)
    reader = await signed_in(api)

    async def found(words: str) -> tuple[list[str], int]:
        """Return what is marked, and on how many pages."""
        path, marked, pages = f"/console/executions/{run}/log?q={quote(words)}", [], 0
        while path:
            page = await reader.page(path)
            pages += 1
            marked += [unescape(one) for one in re.findall(r"<mark>(.*?)</mark>", page, re.DOTALL)]
            later = re.search(r'href="([^"]+)">Search on<', page)
            path = unescape(later[1]) if later else ""
        return marked, pages

    # over the pieces of a text; in any case; not as a pattern
    assert await found("<7> CLOSELY") == (["<7> closely"], 1)
    needles, pages = await found("*NEEDLE*")
    assert (len(needles) >= 12, set(needles), pages) == (True, {"*needle*"}, 1)
    monkeypatch.setattr("outlast.rooms.console.render.log._READ", 10)
    paged, pages = await found("*NEEDLE*")
    assert paged == needles
    assert pages > 5
    assert await found("no such words") == ([], pages)
    page = await reader.page(f"/console/executions/{run}/log?q=no+such")
    assert "Not found so far" in page
    monkeypatch.undo()
    page = await reader.page(f"/console/executions/{run}/log?q=Tool.Finished")
    kinds = re.findall(r'<td class="entry">.*?<b>([\w.]+)</b>', page, re.DOTALL)
    assert kinds == ["tool.finished"] * 12


async def test_frames_are_those_that_the_api_sends(make_api: MakeApi) -> None:
    api = await make_api(FakeModel(by_turn([f"w{n} " for n in range(300)])))
    run = await api.started()
    await api.rested(run)
    reader = await signed_in(api)
    async with api.listening() as client:
        sent = (await client.get(f"/v1/executions/{run}/stream")).text
    path, shown = f"/console/executions/{run}/log?as=frames", ""
    while path:
        page = await reader.page(path)
        found = re.search(r'aria-label="Frames">(.*?)</pre>', page, re.DOTALL)
        shown += unescape(found[1]) if found else ""
        later = re.search(r'href="([^"]+)">Next<', page)
        path = unescape(later[1]) if later else ""
    assert shown == "".join(f"{one}\n\n" for one in re.findall(r"id: .*\ndata: .*", sent))
    end = re.findall(r"id: (.*)\n", sent)[-1]
    page = await reader.page(f"/console/executions/{run}/log?after={end}")
    assert "Nothing is behind this cursor yet" in page
    assert f"Last-Event-ID: {end}" in unescape(page)


@pytest.mark.parametrize(
    "text",
    [
        "Plain words.",
        'She said "yes" \' and 1 + 1 = 2; c:\\x {a} (b) $5 100% @ / ? ^',
        "trailing  ",
        "ünïcode ½ 漢字",
        "a # not a heading - nor a list 1. really",
        "http://example.com stays text",
        "a&amp;b",
        "*not* plain",
        "1. a list",
        "two\nlines",
        "tab\tbed",
        "a\u2028b",
        "= = =",
    ],
)
def test_a_plain_line_is_what_the_markdown_parser_makes_of_it(text: str) -> None:
    assert str(markdown(text)) == _parser().render(text)
