"""Trees that are too large to be in memory at once."""

import tracemalloc
from typing import Any

import orjson
import pytest
from sqlalchemy import Table

from outlast.model.price import NANO
from outlast.model.record import Branch, RecordId
from outlast.rooms.records import render
from outlast.rooms.records.routes import LARGE_TREE
from outlast.services.records import PAGE_CHARACTERS, TreeMoved
from outlast.store.charges import charges
from outlast.store.executions.tables import executions, steps
from outlast.testing import FakeClock
from tests.support.api import Api, MakeApi
from tests.support.databases import Database
from tests.support.models import FakeModel, by_turn
from tests.support.records_room import (
    MODEL,
    PATH,
    PRICES,
    read,
    walk,
)
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = pytest.mark.anyio

LONG = 4000
"""Characters of each text of a large tree."""


async def test_a_tree_of_a_thousand_executions_is_written_in_pages_as_it_would_be_at_once(
    make_api: MakeApi, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, root = await _large_tree(make_api, database)
    services, caller = api.core.services, api.caller
    outline = await services.records.outline(caller, root)
    assert len(outline.placed) == 1111
    assert outline.size > 4 * LARGE_TREE
    answer = await api.get(f"{PATH}/nestings", executionId=root)
    whole = await services.records.nested(caller, RecordId.parse(root))
    assert answer.content == orjson.dumps(render.nested(whole))
    assert answer.headers["content-length"] == str(len(answer.content))
    found = list(walk(read(answer)))
    assert len(found) == 1111 * 4, "an execution, two answers and a call, each time"
    assert round(found[0]["creditsUsed"] * NANO) == 1111 * (2 * MODEL + 5)
    for node in found:
        below = sum(child["creditsUsed"] for child in node["children"])
        assert not node["children"] or below == node["creditsUsed"]
    del answer, whole, found

    pages = 0
    branches = services.records._store.branches

    async def counted(*given: Any) -> dict[str, Branch]:
        nonlocal pages
        pages += 1
        return await branches(*given)

    monkeypatch.setattr(services.records._store, "branches", counted)
    tracemalloc.start()
    try:
        count = 0
        async for _ in services.records.walk(caller, outline):
            count += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 2 * 1111 * 4, "each record, and its end"
    assert pages <= outline.size // PAGE_CHARACTERS + 1
    assert peak < 12 * PAGE_CHARACTERS


async def test_a_large_tree_that_has_changed_is_read_anew(
    make_api: MakeApi, database: Database
) -> None:
    api, root = await _large_tree(make_api, database)
    services, caller = api.core.services, api.caller
    outline = await services.records.outline(caller, root)
    database.rows(f"UPDATE executions SET credits = credits + 1 WHERE id = '{root}'")
    with pytest.raises(TreeMoved):
        async for _ in services.records.walk(caller, outline):
            pass
    shown = read(await api.get(f"{PATH}/nestings", executionId=root))
    assert round(shown["creditsUsed"] * NANO) == 1111 * (2 * MODEL + 5) + 1


async def _large_tree(make_api: MakeApi, database: Database) -> tuple[Api, str]:
    """An execution that has called ten, of which each has called ten, and so on: 1,111 in all."""
    text = "x" * LONG
    api = await make_api(
        FakeModel(by_turn([call(1, "look", q=text)], [text])),
        spec(tool("look")),
        FakeTools(look=lambda _: text),
        prices=PRICES,
        clock=FakeClock(),  # ids that are counted end otherwise
    )
    root = (await api.execute({"input": text})).json()["id"]
    ten = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))
    same = _columns(executions, {"id", "parent_id", "root_id", "depth"})
    for level in range(3):
        number = f"substr('00' || substr(id, {32 - level}, {level}) || n, {level + 1}, 3)"
        database.rows(
            f"INSERT INTO executions (id, parent_id, root_id, depth, {same}) "
            f"SELECT substr(id, 1, 27) || '{level + 1}' || {number}, id, '{root}', {level + 1}, "
            f"{same} FROM executions, ({ten}) AS ten WHERE depth = {level}"
        )
    copied = "substr(id, 1, 25) || substr(id, 30, 2) || substr(below, 28, 4)"
    for table in (steps, charges):
        rest = _columns(table, {"id", "execution_id"})
        database.rows(
            f"INSERT INTO {table.name} (id, execution_id, {rest}) SELECT {copied}, below, {rest} "
            f"FROM {table.name}, (SELECT id AS below, depth FROM executions) AS found "
            "WHERE depth > 0"
        )
    return api, root


def _columns(table: Table, but: set[str]) -> str:
    return ", ".join(f'"{column.name}"' for column in table.c if column.name not in but)
