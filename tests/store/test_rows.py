"""Rows of executions: what is written is what is read, column by column, in the real databases."""

from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import Any, Final

import pytest

from outlast.model.budget import Amounts, Reservation
from outlast.model.client_call import ClientTool
from outlast.model.execution import (
    BrowserUse,
    Budget,
    Execution,
    Failure,
    PauseRequest,
    RequestContext,
    Status,
)
from outlast.model.memory import Access, MemoryAccess
from outlast.model.usage import Usage
from outlast.model.wait import Awaiting
from outlast.store.driver import Driver, Part, Query, Statement, Transaction, TransactionResult
from outlast.store.executions.columns import COLUMNS, PLACES
from outlast.store.executions.locks import compare_and_set
from outlast.store.executions.rows import execution_from, new_columns, resume_columns
from outlast.store.executions.statements import EXECUTION, INSERT_EXECUTION, RESUME_EXECUTION
from outlast.store.executions.tables import executions
from tests.support.databases import Database

pytestmark = pytest.mark.anyio

FULL: Final = Execution(
    *("exec_1", "ws_1", "agt_1", 2, "conv_1", 3, Status.PAUSED, 4, "in", 5, 6, "key_1", "exec_0"),
    started_at=7,
    completed_at=None,
    metadata={"a": [1]},
    session={"b": None},
    budget=Budget(8, 1.5, 9, 2.5),
    origin=RequestContext(
        "Be brief.",
        "chat",
        "ui",
        "sealed",
        "message",
        client_tools=(ClientTool("locate", "Where?", {"type": "object"}, 5.5),),
    ),
    waiting=False,
    cancel_requested=True,
    output="out",
    error=None,
    usage=Usage(10, 11, 12, 13, estimated=True),
    steps=14,
    final_model="m",
    first_token_ms=15,
    tool_ms=16,
    active_ms=17,
    is_purged=True,
    pause_requested=PauseRequest(now=True, reason="r"),
    superseded_tokens=18,
    superseded_to=19,
    resumed_ms=20,
    state={"c": {"d": 1}},
    active_since=21,
    credits=22,
    tries=23,
    user="u",
    superseded=True,
    root_id="exec_root",
    depth=1,
    tool_call_id="tc_1",
    memory_stores=(MemoryAccess("mem_1", Access.READ_ONLY), MemoryAccess("mem_2")),
    browser=BrowserUse(26, 27, 28),
    children=2,
    paused_by="exec_root",
    reserved=Reservation(Amounts(7, 8, 9), ("exec_1", "key_2"), True, (0, 5), (6, 7)),
)
FAILED: Final = replace(
    FULL,
    status=Status.FAILED,
    completed_at=24,
    error=Failure("t", "c", "m"),
    origin=replace(FULL.origin, headers=None),
)
QUEUED: Final = replace(FULL, status=Status.QUEUED, started_at=None, waiting=True, usage=Usage())
SUSPENDED: Final = replace(FULL, status=Status.SUSPENDED, awaiting=Awaiting.CHILD)
EMPTY: Final = Execution("exec_1", "ws_1", "agt_1", 1, "conv_1", 1, Status.QUEUED, 0, "", 1, 1)
"""Nothing but what it must have."""


def stored(execution: Execution) -> Transaction[Execution]:
    yield Query(INSERT_EXECUTION, new_columns(execution))
    return TransactionResult((yield from read(execution)))


def changed(
    before: Execution, statement: Statement, parameters: dict[str, Any]
) -> Transaction[Execution]:
    yield Query(INSERT_EXECUTION, new_columns(before))
    yield Query(statement, parameters)
    return TransactionResult((yield from read(before)))


def read(execution: Execution) -> Part[Execution]:
    rows = yield Query(EXECUTION, {"id": execution.id, "workspace": execution.workspace_id})
    return execution_from(rows[0])


@pytest.fixture
async def driver(database: Database) -> AsyncIterator[Driver]:
    driver = database.driver()
    await driver.open()
    yield driver
    await driver.close()


@pytest.mark.parametrize(
    "execution", [FULL, FAILED, QUEUED, SUSPENDED, EMPTY], ids=lambda e: e.status
)
async def test_every_field_of_an_execution_is_read_as_it_was_written(
    driver: Driver, execution: Execution
) -> None:
    assert await driver.write(lambda: stored(execution)) == execution


async def test_a_resume_writes_what_the_past_decides_and_leaves_what_was_used(
    driver: Driver,
) -> None:
    resumed = replace(QUEUED, id=FAILED.id, cancel_requested=False, pause_requested=None)
    parameters = resume_columns(resumed) | {"given_id": FAILED.id}
    found = await driver.write(lambda: changed(FAILED, RESUME_EXECUTION, parameters))
    kept = {name: getattr(FAILED, name) for name in ("started_at", "first_token_ms", "origin")}
    assert found == replace(resumed, **kept)


async def test_an_advance_leaves_identity_input_and_state(driver: Driver) -> None:
    after = replace(
        EMPTY,
        status=Status.RUNNING,
        segment=1,
        started_at=2,
        usage=FULL.usage,
        tries=3,
        credits=4,
        input="another",
        state={"not": "written"},
    )
    query = compare_and_set(EMPTY, after, keep_pause=False)
    found = await driver.write(lambda: changed(EMPTY, query.statement, query.parameters))
    assert found == replace(after, input="", state={})


def test_a_row_has_the_columns_of_the_table_in_its_order() -> None:
    assert [*PLACES] == [column.name for column in executions.c] == [one.name for one in COLUMNS]
    assert [*new_columns(FULL)] == [*PLACES]


def test_the_full_execution_has_no_field_at_its_default() -> None:
    left = {field.name for field in fields(Execution) if getattr(FULL, field.name) == field.default}
    assert left <= {"awaiting", "completed_at", "error", "waiting"}
    assert FAILED.completed_at
    assert FAILED.error
    assert QUEUED.waiting
    assert SUSPENDED.awaiting


def test_a_reservation_is_in_the_budget_that_was_made_before_it() -> None:
    held = Reservation(Amounts(1), ("exec_1", "key_2"), shares=(0, 5), made=(0, 7))
    assert held.of("key_2", 7) == held.of("exec_1", 9) == Amounts(1)
    assert held.of("key_2", 8) == held.of("key_3", 7) == Amounts()


def test_a_reservation_of_an_older_process_names_no_share() -> None:
    stored = {"tokens": 1, "credits": 2, "steps": 3, "owners": ["key_2"], "calls": False}
    read = Reservation.from_json(stored)
    assert read == Reservation(Amounts(1, 2, 3), ("key_2",))
    assert (read.share_of("key_2"), read.of("key_2", 7)) == (None, Amounts(1, 2, 3))
