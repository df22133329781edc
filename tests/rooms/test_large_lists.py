"""Lists of large executions: cut with a mark and a link, or whole in pages of some megabytes."""

import asyncio
import tracemalloc
from typing import Any

import pytest

from outlast.store.executions.lists import LONGEST
from tests.support.api import Api, MakeApi
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = pytest.mark.anyio
LARGE = 3_000_000
LISTS = ("/v1/executions", "/v1/events", "/v1/agents/agent/events")


async def listed(api: Api, path: str = "/v1/executions", **params: Any) -> list[dict[str, Any]]:
    answer = await api.get(path, **params)
    assert answer.status_code == 200, answer.text[:500]
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def spoke(make_api: MakeApi, text: str, **body: Any) -> Api:
    """A server with one execution that said the text."""
    api = await make_api(FakeModel(by_turn([text])))
    await api.rested(await api.started(**body))
    return api


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST])
async def test_a_text_that_fits_is_whole_and_has_no_mark(make_api: MakeApi, length: int) -> None:
    api = await spoke(make_api, "é" * length, input="ü" * length)
    for path in LISTS:
        (found,) = await listed(api, path)
        assert found["output"] == "é" * length
        assert "truncated" not in found


async def test_what_is_long_is_cut_with_a_mark_and_a_link(make_api: MakeApi) -> None:
    api = await spoke(make_api, "é" * LARGE, input="i" * 9000, metadata={"a": "m" * 9000, "b": 1})
    (found,) = await listed(api)
    assert found["output"] == "é" * LONGEST
    assert found["input"] == "i" * LONGEST
    assert found["metadata"] == {}
    assert found["truncated"]["fields"] == ["input", "output", "metadata"]
    whole = (await api.get(found["truncated"]["url"])).json()
    assert whole["output"] == "é" * LARGE
    assert whole["input"] == "i" * 9000
    assert whole["metadata"] == {"a": "m" * 9000, "b": 1}
    assert "truncated" not in whole
    for path in LISTS[1:]:
        (found,) = await listed(api, path)
        assert found["output"] == "é" * LONGEST
        assert found["truncated"] == {
            "fields": ["output"],
            "url": f"/v1/executions/{whole['id']}",
        }
    for path in LISTS:
        (found,) = await listed(api, path, full="true")
        assert found["output"] == whole["output"]
        assert "truncated" not in found


async def test_a_page_of_records_cuts_what_is_long_and_a_record_alone_is_whole(
    make_api: MakeApi,
) -> None:
    api = await spoke(make_api, "é" * LARGE, input="i" * 9000)
    (found,) = (await api.get("/api/v1/executions")).json()
    assert found["detail"]["output"] == "é" * LONGEST
    assert found["detail"]["input"] == "i" * LONGEST
    assert found["detail"]["truncated"] == ["input", "output"]
    whole = (await api.get(f"/api/v1/executions/{found['id']}")).json()
    assert whole["detail"]["output"] == "é" * LARGE
    assert whole["detail"]["input"] == "i" * 9000
    assert "truncated" not in whole["detail"]


async def test_long_tool_calls_are_left_out_and_short_ones_are_shown(make_api: MakeApi) -> None:
    calls = [call(1, "look", of="a"), call(2, "look", of="b" * 5000), call(3, "look", of="c")]
    results = {"a": 1, "c": "y" * 5000}
    model = FakeModel(by_turn(calls, ["done"]))
    api = await make_api(
        model, spec(tool("look")), FakeTools(look=lambda given: results.get(given["of"], 2))
    )
    run = await api.started()
    whole = await api.rested(run)
    assert len(whole["toolCalls"]) == 3
    (found,) = await listed(api)
    assert found["toolCalls"] == whole["toolCalls"][:1]
    assert found["truncated"]["fields"] == ["toolCalls"]
    (found,) = await listed(api, full="true")
    assert found == whole


async def test_whole_pages_end_where_they_have_become_large_and_the_walk_misses_none(
    make_api: MakeApi,
) -> None:
    api = await make_api(FakeModel(lambda _: ["x" * LARGE]))
    ids = [await api.started() for _ in range(5)]
    for run in ids:
        await api.rested(run)
    found: list[str] = []
    params: dict[str, Any] = {"full": "true"}
    while True:
        page = (await api.get("/v1/executions", **params)).json()
        assert 0 < len(page["data"]) < 4
        found += [one["id"] for one in page["data"]]
        if not page["hasMore"]:
            break
        params["after"] = page["nextCursor"]
    assert found == ids[::-1]
    back = (await api.get("/v1/executions", full="true", before=ids[0])).json()
    assert [one["id"] for one in back["data"]] == ids[1:3][::-1]
    assert back["hasMore"]


async def test_many_lists_at_once_hold_little(make_api: MakeApi) -> None:
    api = await make_api(FakeModel(lambda _: ["x" * LARGE]))
    for run in [await api.started() for _ in range(6)]:
        await api.rested(run)
    await listed(api)
    tracemalloc.start()
    try:
        await asyncio.gather(*(listed(api) for _ in range(12)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * 6 * LONGEST * 8 + 2**20
