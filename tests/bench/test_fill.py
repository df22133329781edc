"""Copies of an execution in a real database are whole, older, and its own."""

from pathlib import Path

import pytest
from bench.fill import copy_execution, suffix
from bench.fill_rows import fill_rows
from bench.state import State

from outlast import agent_tool
from outlast.model import ids
from outlast.model.execution import Execution
from outlast.store.sqlite import SqliteDriver
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import POSTGRESQL, SQLITE, Database
from tests.support.models import FakeModel, by_turn
from tests.support.store import completed, new, run
from tests.support.tools import call
from tests.support.trees import Play, agent, team_on

pytestmark = pytest.mark.anyio

COPIES = 45


@pytest.fixture
def state(database: Database, tmp_path: Path) -> State:
    return State(database.kind, tmp_path, "" if database.kind == SQLITE else database.url)


@pytest.fixture
async def original(state: State, database: Database) -> Execution:
    """One that ended, in a database that is not open."""
    sqlite = state.kind == SQLITE
    store = Store.over(SqliteDriver(state.file) if sqlite else database.driver())
    await store.open()
    execution = (await store.executions.create(new(FakeClock()))).execution
    execution = await run(store, execution)
    await store.executions.advance(completed(execution))
    await store.close()
    return execution


async def test_every_row_of_the_execution_is_copied(state: State, original: Execution) -> None:
    before = _counts(state)
    copy_execution(state, original.id, COPIES)
    assert before["events"] > 1
    assert _counts(state) == {table: rows * (COPIES + 1) for table, rows in before.items()}


async def test_copies_are_listed_after_the_original_newest_first(
    state: State, original: Execution
) -> None:
    made = copy_execution(state, original.id, COPIES)
    assert made == sorted(made)
    assert all(ids.parse("exec", one) == one for one in made)
    found = state.rows("SELECT id FROM executions ORDER BY created_at DESC")
    assert [one for (one,) in found] == [original.id, *reversed(made)]


async def test_rows_alone_are_listed_after_the_original_newest_first(
    state: State, original: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.fill_rows.BATCH", 20)
    fill_rows(state, original.id, COPIES)
    found = state.rows("SELECT id, created_at FROM executions ORDER BY id DESC")
    assert len(found) == COPIES + 1
    assert found[0][0] == original.id
    assert [at for _, at in found] == [original.created_at - 1000 * n for n in range(COPIES + 1)]


async def test_copies_are_of_the_same_workspace_and_say_the_same(
    state: State, original: Execution
) -> None:
    copy_execution(state, original.id, COPIES)
    rows = state.rows("SELECT DISTINCT workspace_id, agent_id, input, output FROM executions")
    assert len(rows) == 1
    [(kinds,)] = state.rows("SELECT count(DISTINCT kind) FROM events")
    assert kinds > 1


@pytest.mark.only(POSTGRESQL)
async def test_what_an_execution_has_called_is_copied_with_it(
    state: State, database: Database
) -> None:
    plays: dict[str, Play | FakeModel] = {
        "lead": by_turn([call(1, "researcher", input="x")], ["Done."]),
        "researcher": lambda _: ["."],
    }
    agents = agent("lead", agent_tool("researcher")), agent("researcher")
    async with team_on(database, plays, *agents) as world:
        root = await world.start()
        await world.until(root)
    copy_execution(state, root, COPIES)
    found = state.rows(
        "SELECT parent.id, child.root_id, count(events.seq) FROM executions AS child"
        " JOIN executions AS parent ON parent.id = child.parent_id"
        " JOIN events ON events.execution_id = child.id GROUP BY 1, 2"
    )
    assert len(found) == COPIES + 1
    assert all(parent == root and logged > 1 for parent, root, logged in found)


@pytest.mark.usefixtures("original")
async def test_an_unknown_execution_is_not_copied(state: State) -> None:
    with pytest.raises(LookupError):
        copy_execution(state, f"exec_{suffix(1, 1)}", 1)


def _counts(state: State) -> dict[str, int]:
    tables = ("executions", "conversations", "events", "steps", "checkpoints")
    return {table: state.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables}
