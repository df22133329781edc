"""Lists of large executions: cut with a mark and a link, or whole in pages of some megabytes."""

import asyncio
import tracemalloc
from typing import Any

import pytest

from outlast.store.executions.lists import LONGEST
from tests.engine.world import Actor, Bench, by_turn, call, spec, tool
from tests.rooms.conftest import Build
from tests.rooms.house import House

pytestmark = pytest.mark.anyio
LARGE = 3_000_000
LISTS = ("/v1/executions", "/v1/events", "/v1/agents/agent/events")


async def listed(house: House, path: str = "/v1/executions", **params: Any) -> list[dict[str, Any]]:
    answer = await house.get(path, **params)
    assert answer.status_code == 200, answer.text[:500]
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def spoke(build: Build, text: str, **body: Any) -> House:
    """A house with one execution that said the text."""
    house = await build(Actor(by_turn([text])))
    await house.rested(await house.started(**body))
    return house


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST])
async def test_a_text_that_fits_is_whole_and_has_no_mark(build: Build, length: int) -> None:
    house = await spoke(build, "é" * length, input="ü" * length)
    for path in LISTS:
        (found,) = await listed(house, path)
        assert found["output"] == "é" * length
        assert "truncated" not in found


async def test_what_is_long_is_cut_with_a_mark_and_a_link(build: Build) -> None:
    house = await spoke(build, "é" * LARGE, input="i" * 9000, metadata={"a": "m" * 9000, "b": 1})
    (found,) = await listed(house)
    assert found["output"] == "é" * LONGEST
    assert found["input"] == "i" * LONGEST
    assert found["metadata"] == {}
    assert found["truncated"]["fields"] == ["input", "output", "metadata"]
    whole = (await house.get(found["truncated"]["url"])).json()
    assert whole["output"] == "é" * LARGE
    assert whole["input"] == "i" * 9000
    assert whole["metadata"] == {"a": "m" * 9000, "b": 1}
    assert "truncated" not in whole
    for path in LISTS[1:]:
        (found,) = await listed(house, path)
        assert found["output"] == "é" * LONGEST
        assert found["truncated"] == {
            "fields": ["output"],
            "url": f"/v1/executions/{whole['id']}",
        }
    for path in LISTS:
        (found,) = await listed(house, path, full="true")
        assert found["output"] == whole["output"]
        assert "truncated" not in found


async def test_a_page_of_records_cuts_what_is_long_and_a_record_alone_is_whole(
    build: Build,
) -> None:
    house = await spoke(build, "é" * LARGE, input="i" * 9000)
    (found,) = (await house.get("/api/v1/executions")).json()
    assert found["detail"]["output"] == "é" * LONGEST
    assert found["detail"]["input"] == "i" * LONGEST
    assert found["detail"]["truncated"] == ["input", "output"]
    whole = (await house.get(f"/api/v1/executions/{found['id']}")).json()
    assert whole["detail"]["output"] == "é" * LARGE
    assert whole["detail"]["input"] == "i" * 9000
    assert "truncated" not in whole["detail"]


async def test_long_tool_calls_are_left_out_and_short_ones_are_shown(build: Build) -> None:
    calls = [call(1, "look", of="a"), call(2, "look", of="b" * 5000), call(3, "look", of="c")]
    results = {"a": 1, "c": "y" * 5000}
    actor = Actor(by_turn(calls, ["done"]))
    house = await build(
        actor, spec(tool("look")), Bench(look=lambda given: results.get(given["of"], 2))
    )
    run = await house.started()
    whole = await house.rested(run)
    assert len(whole["toolCalls"]) == 3
    (found,) = await listed(house)
    assert found["toolCalls"] == whole["toolCalls"][:1]
    assert found["truncated"]["fields"] == ["toolCalls"]
    (found,) = await listed(house, full="true")
    assert found == whole


async def test_whole_pages_end_where_they_have_become_large_and_the_walk_misses_none(
    build: Build,
) -> None:
    house = await build(Actor(lambda _: ["x" * LARGE]))
    ids = [await house.started() for _ in range(5)]
    for run in ids:
        await house.rested(run)
    found: list[str] = []
    params: dict[str, Any] = {"full": "true"}
    while True:
        page = (await house.get("/v1/executions", **params)).json()
        assert 0 < len(page["data"]) < 4
        found += [one["id"] for one in page["data"]]
        if not page["hasMore"]:
            break
        params["after"] = page["nextCursor"]
    assert found == ids[::-1]
    back = (await house.get("/v1/executions", full="true", before=ids[0])).json()
    assert [one["id"] for one in back["data"]] == ids[1:3][::-1]
    assert back["hasMore"]


async def test_many_lists_at_once_hold_little(build: Build) -> None:
    house = await build(Actor(lambda _: ["x" * LARGE]))
    for run in [await house.started() for _ in range(6)]:
        await house.rested(run)
    await listed(house)
    tracemalloc.start()
    try:
        await asyncio.gather(*(listed(house) for _ in range(12)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * 6 * LONGEST * 8 + 2**20
