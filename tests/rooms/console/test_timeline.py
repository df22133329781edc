"""The timeline of an execution: its table, the columns of its canvas, and their arithmetic."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import orjson
import pytest

from outlast.model.agent import Limits
from outlast.model.event import Entry, ModelFinished
from outlast.rooms.console.render.timeline import Columns, columns
from outlast.rooms.console.render.transcript import Transcript
from outlast.rooms.console.routes import timeline as routes
from tests.support.api import MakeApi
from tests.support.console import Reader, signed_in
from tests.support.databases import SQLITE
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


async def test_the_table_and_the_canvas_have_every_step(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[Reply] = [[f"Look {n}.", call(n, "look")] for n in range(60)]
    api = await make_api(
        FakeModel(by_turn(*turns, ["Found."])),
        agent=spec(tool("look"), limits=Limits(max_steps=200)),
        tools=FakeTools(look=lambda _: "here"),
    )
    run = await api.started()
    await api.rested(run)
    services = api.core.services.executions
    await services.resume(api.caller, run, (await services.checkpoints(api.caller, run))[-3].id)
    await api.rested(run)
    reader = await signed_in(api)
    path, shown = f"/console/executions/{run}/timeline", []
    while path:
        page = await reader.page(path)
        shown += re.findall(r"\?step=(\d+)#", page)
        later = re.search(r'href="([^"]+)">Older<', page)
        path = unescape(later[1]) if later else ""
    (found,) = await columns_of(reader, run)
    assert [int(number) for number in shown] == found["number"][::-1]
    assert found["number"] == list(range(1, len(shown) + 1))
    assert {len(found[name]) for name in ("start", "took", "kind", "name", "state")} == {len(shown)}
    assert found["names"] == ["model", "look"]
    assert found["states"][found["state"][-3]] == "superseded"
    assert found["states"][found["state"][-1]] == "done"
    assert min(found["start"]) == 0
    assert min(found["took"]) >= 0
    monkeypatch.setattr(routes, "_COLUMNS", 50)
    parts = await columns_of(reader, run)
    assert len(parts) == 3
    assert [one for part in parts for one in steps_of(part)] == steps_of(found)
    assert max(part["end"] for part in parts) == found["end"]


async def columns_of(reader: Reader, run: str) -> list[Columns]:
    """All columns, as the canvas reads them."""
    path, parts = f"/console/executions/{run}/timeline/columns", []
    later: int | None = 1
    while later:
        part = orjson.loads(await reader.page(f"{path}?from={later}"))
        parts.append(part)
        later = part["later"]
    return parts


def steps_of(found: Columns) -> list[tuple[Any, ...]]:
    """Columns as rows, with what they name."""
    numbers = zip(found["number"], found["start"], found["took"], found["kind"], strict=True)
    names = [found["names"][place] for place in found["name"]]
    states = [found["states"][place] for place in found["state"]]
    return list(zip(numbers, names, states, strict=True))


def test_a_model_s_step_begins_where_the_one_before_it_ended() -> None:
    read = Transcript()
    read.add(Entry(1, 1, 1000, ModelFinished(1, "m", "tool_calls", 1, 1)))
    read.add(Entry(1, 2, 4000, ModelFinished(2, "m", "stop", 1, 1)))
    found = columns(read, 9000)
    assert (found["start"], found["took"], found["end"]) == ([0, 0], [0, 3000], 3000)


def test_the_arithmetic_of_the_canvas_and_how_a_stream_stands() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    scripts = sorted(str(path) for path in Path(__file__).parent.glob("*.test.mjs"))
    ran = subprocess.run([node, "--test", *scripts], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
