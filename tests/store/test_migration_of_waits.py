"""Approvals of older versions are waits for a person, and go on as they stood."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from outlast.model.execution import Status
from outlast.model.wait import Awaiting, Decision, Wait, WaitKind
from outlast.store import migrations
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.page import Page
from outlast.store.store import Store
from outlast.store.waits.decide import DecideWait
from outlast.store.waits.store import PendingPage
from tests.support.databases import KINDS, Database
from tests.support.old_databases import Writer, database_of

pytestmark = pytest.mark.anyio
APPROVAL = {"kind": "approval", "name": "pay", "parameters": '{"a": 1}', "workspace_id": "ws_1"}


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database as the version before has left it."""
    postgres = partial(request.getfixturevalue, "postgres")
    with database_of("0007", request.param, tmp_path, postgres) as url:
        yield Database(request.param, url, tmp_path)


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    made = Writer(database.url)
    yield made
    made.close()


def store_of(database: Database) -> Store:
    plain = database.url.replace("postgresql+psycopg:", "postgresql:")
    return Store.over(Database(database.kind, plain, database.folder).driver())


def write_executions(writer: Writer) -> None:
    live = {"completed_at": None}
    writer.execution("exec_a", (1, 1, 0), status="suspended", **live)
    writer.execution("exec_b", (1, 1, 0), status="running", turn=2, **live)
    writer.execution("exec_c", (1, 1, 0), status="completed", turn=3)
    writer.execution("exec_d", (1, 1, 0), status="suspended", workspace_id="ws_2", **live)


def write_approvals(writer: Writer) -> None:
    writer.add(
        "approvals",
        execution_id="exec_a",
        tool_call_id="tc_1",
        requested_at=5,
        step=2,
        expires_at=70,
        expires_approved=True,
        **APPROVAL,
    )
    writer.add(
        "approvals",
        execution_id="exec_a",
        tool_call_id="tc_2",
        requested_at=6,
        decided_at=7,
        approved=True,
        reason="Yes.",
        effective_parameters='{"a": 2}',
        decided_by="key_1",
        begun_at=8,
        **APPROVAL,
    )
    unknown = APPROVAL | {"kind": "unknown_outcome"}
    writer.add(
        "approvals",
        execution_id="exec_b",
        tool_call_id="tc_1",
        requested_at=5,
        decided_at=9,
        approved=True,
        result="null",
        **unknown,
    )
    early = APPROVAL | {"workspace_id": None, "superseded": True}
    writer.add("approvals", execution_id="exec_c", tool_call_id="tc_1", requested_at=5, **early)
    gone = APPROVAL | {"workspace_id": None}
    writer.add("approvals", execution_id="exec_gone", tool_call_id="tc_1", requested_at=5, **gone)
    other = APPROVAL | {"workspace_id": "ws_2"}
    writer.add("approvals", execution_id="exec_d", tool_call_id="tc_1", requested_at=5, **other)


async def test_approvals_are_kept_as_they_stood(database: Database, writer: Writer) -> None:
    write_executions(writer)
    write_approvals(writer)

    migrations.upgrade(database.url)

    store = store_of(database)
    await store.open()
    try:
        proposed = {"a": 1}
        kind = WaitKind.APPROVAL
        assert await store.waits.of("ws_1", "exec_a") == (
            Wait("exec_a", "tc_1", kind, "pay", proposed, 5, step=2, due_at=70, due_approved=True),
            Wait(
                "exec_a",
                "tc_2",
                kind,
                "pay",
                proposed,
                6,
                decided_at=7,
                approved=True,
                reason="Yes.",
                effective_parameters={"a": 2},
                decided_by="key_1",
                begun_at=8,
            ),
        )
        unknown = WaitKind.UNKNOWN_OUTCOME
        assert await store.waits.of("ws_1", "exec_b") == (
            Wait("exec_b", "tc_1", unknown, "pay", proposed, 5, 9, True, has_result=True),
        )
        (superseded,) = await store.waits.of("ws_1", "exec_c")
        assert superseded.superseded
    finally:
        await store.close()
    awaiting = "SELECT id, awaiting FROM executions ORDER BY id"
    assert writer.rows(awaiting) == [
        ("exec_a", "person"),
        ("exec_b", None),
        ("exec_c", None),
        ("exec_d", "person"),
    ]
    assert writer.rows("SELECT count(*) FROM waits") == [(5,)]


async def test_what_waited_in_the_version_before_is_decided_in_this_one(
    database: Database, writer: Writer
) -> None:
    write_executions(writer)
    write_approvals(writer)
    migrations.upgrade(database.url)
    store = store_of(database)
    await store.open()
    try:
        pending = await store.waits.pending("ws_1", PendingPage(9))
        assert [(one.execution_id, one.tool_call_id) for one in pending] == [("exec_a", "tc_1")]
        assert [(workspace, one.tool_call_id) for workspace, one in await _due(store)] == [
            ("ws_1", "tc_1")
        ]
        suspended = ExecutionFilter(status=(Status.SUSPENDED,))
        found = await store.executions.page("ws_1", suspended, Page(9))
        assert [(one.id, one.awaiting) for one in found] == [("exec_a", Awaiting.PERSON)]
        request = DecideWait("ws_1", "exec_a", "tc_1", 20, Decision(approved=True), "key_1")
        await store.waits.decide(request)
        execution = await store.executions.get("ws_1", "exec_a")
        assert (execution.status, execution.awaiting) == (Status.QUEUED, None)
        assert (await store.executions.get("ws_2", "exec_d")).awaiting is Awaiting.PERSON
    finally:
        await store.close()


async def _due(store: Store) -> list[tuple[str, Wait]]:
    return [one for one in await store.waits.due(70, 9) if isinstance(one, tuple)]
