"""Every statement finds its rows by an index: ten million rows cost what ten cost."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Executable, literal_column, select
from sqlalchemy.dialects import sqlite

from outlast.store import migrations
from outlast.store.conversations.rows import list_conversations
from outlast.store.driver import Statement
from outlast.store.executions.lists import list_executions
from outlast.store.executions.statements import (
    ADVANCE_EXECUTION,
    ADVANCE_LIVE,
    ADVANCE_RUNNING,
)
from outlast.store.records import executions_of_page, sums_of_page
from outlast.store.waits.awaited import awaited
from outlast.store.waits.rows import pending_approvals
from tests.support.query_plans import CONVERSATION, CONVERSATIONS, LISTS, MORE, STATEMENTS

ON_POSTGRES = {"ADVANCE_AND_APPEND", "BEGIN_SIBLINGS", "RESERVE_AND_WRITE"}
"""Statements in which SQLite has no syntax for the writes."""
MAY_SCAN = {
    "UNFINISHED": "recovery, once at start",
    "EMBEDDING": "all of them are wanted: `outlast doctor`",
    "WORKSPACES": "all of them are wanted",
    "INSERT": "a select of constants",
    "REQUESTED": "all that two partial indices hold",
    "PURGING": "all that its partial index holds",
    "UNNOTICED": "all that its partial index holds: budgets that were set",
    "DUE_WORKSPACES": "all of them are looked at",
}
MAY_SORT = {
    "OPEN_BELOW": "the open ones of one tree",
    "OPEN_OF_EXECUTION": "the open ones of one execution",
    "LIVE_BELOW": "the live ones of one tree",
    "LOCK_LIVE_BELOW": "the live ones of one tree",
    "WAITS": "those of one execution",
    "NEXT_IN_CONVERSATION": "the live ones of one conversation",
    "LIVE_IN_CONVERSATION": "the live ones of one conversation",
    "NEWEST_MEMORY_ITEMS_BELOW": "those of one prefix",
    "FIND_MEMORY_ITEMS": "those that have the words",
    "FIND_NEWEST_MEMORY_ITEMS": "the newest ones",
    "LOG_PAGE": "the lengths of one page",
    "WAITING_TURNS": "the live ones of one conversation",
    "TURNS": "all of them are read",
    "TURN_STAMPS": "all of them are read",
    "TURNS_STEPS": "all of them are read",
    "USAGE_OF_ALL": "what it has added up itself",
    **{f"USAGE[{number}]": "what it has added up itself" for number in range(5)},
}
MADE = re.compile(
    r"SCAN (tree|below|page|newest|of[0-9]+|sizes|sums|used|totals|counted|\(subquery-[0-9]+\)|"
    r"word VIRTUAL TABLE INDEX 1:|memory_words VIRTUAL TABLE INDEX 0:M1)"
)
"""What a statement has found itself, all of which it reads."""
INDICES = {
    "STEP": "ix_steps_id",
    "NEXT_IN_CONVERSATION": "ix_executions_live",
    "LIVE_IN_CONVERSATION": "ix_executions_live",
    "WAITING_TURNS": "ix_executions_live",
    "COUNT_LIVE": "COVERING INDEX ix_executions_live",
    "PURGING": "ix_executions_purging",
    "DUE_WORKSPACES": "ix_conversations_workspace_id_last_active_at_id",
    "DUE_CONVERSATIONS": "ix_conversations_workspace_id_last_active_at_id",
    "SUM_DUE": "ix_conversations_workspace_id_last_active_at_id",
    "TURNS": CONVERSATION,
    "TURN_STAMPS": CONVERSATION,
    "TURNS_STEPS": CONVERSATION,
    "PURGE_EXECUTIONS[0]": CONVERSATION,
    "PURGE_EXECUTIONS[1]": "ix_executions_root_id",
    "LOCK_LIVE_BELOW": "ix_executions_parent_id",
    "LIVE_CHILDREN_OF": "ix_executions_parent_id",
    "NEXT_CHILD": "ix_executions_parent_id",
    "TURN_OF_MESSAGE": "ix_executions_message_id",
    "NEWEST_TURN": CONVERSATION,
    "SUPERSEDE_TURNS": CONVERSATION,
    "LOG": "PRIMARY KEY",
    "REQUESTED": "ix_executions_pause_requested",
    "REVOKED_KEYS": "ix_keys_revoked_at",
    "LOST_REQUESTS": "ix_reserved_requests_at",
    "STORES_TO_EMBED": "ix_memory_stores_embed_at",
    "ITEMS_TO_EMBED": "ix_memory_vectors_due_at",
    "NEXT_TO_EMBED": "ix_memory_vectors_due_at",
    "CHANGED_VECTORS": "ix_memory_vectors_changed",
    "MEMORY_OF_EXECUTION": "ix_memory_versions_execution_id",
    "DUE_WAITS": "ix_waits_due_at",
    "WHO_IS_AWAITED": "ix_waits_open",
    "DUE_TASKS": "ix_tasks_due_at",
    "DUE_SCHEDULES": "ix_schedules_next_at",
    "LOCK_DUE_SCHEDULES": "sqlite_autoindex_schedules_1",
    "LIVE_OF_SCHEDULES": "ix_executions_live_of_schedule",
    "FORGET_SCHEDULE_RUNS": "ix_schedule_runs_at",
    "APPEND_EVENT": "PRIMARY KEY",
    "COUNT_BETWEEN": "COVERING INDEX ix_executions_workspace_id_id",
    "COUNT_FAILED_BETWEEN": "ix_executions_shown_status",
    "COUNT_OF_AGENT": "COVERING INDEX ix_executions_workspace_id_agent_id_id",
    "FURTHER_OF_AGENT": "COVERING INDEX ix_executions_workspace_id_agent_id_id",
    "FURTHER_OF_AGENT_UPWARDS": "COVERING INDEX ix_executions_workspace_id_agent_id_id",
    "COUNT_FAILED_OF_AGENT": "COVERING INDEX ix_executions_unsuccessful",
    "WORKSPACES_TO_SUM": "ix_charges_workspace_id_at",
    "SUM_HOUR": "ix_charges_workspace_id_at",
    "USAGE_OF_ALL": "ix_charges_workspace_id_at",
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("plans") / "outlast.db"
    migrations.migrate_sqlite(path)
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def plan_of(connection: sqlite3.Connection, statement: Statement) -> list[str]:
    rows = list[tuple[Any, ...]]()
    for one in statement.apart or (statement,):
        text, constants = one.compiled(sqlite.dialect(paramstyle="named"))
        names = set(re.findall(r":(\w+)", text))
        values = {name: constants.get(name, "1") for name in names}
        rows += connection.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
    return [str(row[-1]) for row in rows]


def test_a_statement_may_be_made_once_it_is_used() -> None:
    made = list[Executable]()

    def make() -> Executable:
        made.append(select(literal_column("1")))
        return made[-1]

    statement = Statement(make)
    assert made == []
    assert statement.compiled(sqlite.dialect()) == ("SELECT 1", {})
    assert statement.answers
    assert made == [statement.clause]


@pytest.mark.parametrize("name", [name for name in STATEMENTS if name not in ON_POSTGRES])
def test_no_statement_scans_a_table_or_sorts(connection: sqlite3.Connection, name: str) -> None:
    if name.split("_", maxsplit=1)[0] in MAY_SCAN or name in MAY_SCAN:
        return
    for line in plan_of(connection, STATEMENTS[name]):
        assert not line.startswith("SCAN") or MADE.fullmatch(line) or "CONSTANT ROW" in line, line
        whole_sort = "TEMP B-TREE FOR ORDER BY" in line
        assert not whole_sort or name in MAY_SORT, line


@pytest.mark.parametrize("name", INDICES)
def test_a_statement_takes_the_index_that_is_made_for_it(
    connection: sqlite3.Connection, name: str
) -> None:
    assert INDICES[name] in " ".join(plan_of(connection, STATEMENTS[name]))


def written_by(connection: sqlite3.Connection, statement: Statement) -> set[str]:
    """The indices that a statement writes, and the one by which it finds its row."""
    assert statement.apart is not None
    text, _ = statement.apart[1].compiled(sqlite.dialect(paramstyle="named"))
    program = connection.execute(f"EXPLAIN {text}", dict.fromkeys(re.findall(r":(\w+)", text), 1))
    roots = {row[3] for row in program if row[1] == "OpenWrite"}
    known = connection.execute("SELECT rootpage, name FROM sqlite_master WHERE type = 'index'")
    return {name for root, name in known.fetchall() if root in roots}


def test_a_step_inside_a_segment_writes_no_index(connection: sqlite3.Connection) -> None:
    assert written_by(connection, ADVANCE_RUNNING) == {"sqlite_autoindex_executions_1"}


def test_the_begin_of_a_segment_writes_no_index_of_ends(connection: sqlite3.Connection) -> None:
    written = written_by(connection, ADVANCE_LIVE)
    assert not written & {
        "ix_executions_live",
        "ix_executions_cancel_requested",
        "ix_executions_pause_requested",
    }
    assert written < written_by(connection, ADVANCE_EXECUTION)


@pytest.mark.parametrize("filters", LISTS, ids=lambda filters: "+".join(filters) or "all")
@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_list_walks_down_its_index(
    connection: sqlite3.Connection,
    filters: tuple[str, ...],
    more: tuple[str, ...],
    backwards: bool,
) -> None:
    statement = list_executions(frozenset(filters + more), backwards=backwards)
    shown_plan = " ".join(plan_of(connection, statement))
    assert LISTS[filters] in shown_plan
    assert "TEMP B-TREE" not in shown_plan


@pytest.mark.parametrize("more", [*MORE, ("status",), ("agent_id", "after")])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("values", [1, 2])
def test_a_list_by_metadata_walks_down_the_metadata(
    connection: sqlite3.Connection, more: tuple[str, ...], backwards: bool, values: int
) -> None:
    statement = list_executions(frozenset(more), backwards=backwards, values=values)
    plan = plan_of(connection, statement)
    assert plan[0].startswith("SEARCH value0 USING PRIMARY KEY (workspace_id=? AND name=?"), plan
    assert all("execution_id=?" in line or " id=?" in line or "(id=?" in line for line in plan[1:])
    assert "TEMP B-TREE" not in " ".join(plan)


@pytest.mark.parametrize("few", ["user", "conversation_id", "chat_id"])
def test_a_list_by_metadata_of_few_executions_walks_down_those(
    connection: sqlite3.Connection, few: str
) -> None:
    plan = plan_of(connection, list_executions(frozenset({few}), backwards=False, values=1))
    assert LISTS[few,] in plan[0]
    assert plan[1].startswith("SEARCH value0 USING")
    assert "TEMP B-TREE" not in " ".join(plan)


@pytest.mark.parametrize("filters", CONVERSATIONS, ids=lambda filters: "+".join(filters) or "all")
@pytest.mark.parametrize("after", [(), ("after",)])
def test_the_list_of_conversations_walks_down_its_index(
    connection: sqlite3.Connection, filters: tuple[str, ...], after: tuple[str, ...]
) -> None:
    shown_plan = " ".join(plan_of(connection, list_conversations(frozenset(filters + after))))
    assert CONVERSATIONS[filters] in shown_plan
    assert "TEMP B-TREE" not in shown_plan


@pytest.mark.parametrize("after", [False, True])
def test_the_approvals_that_wait_are_found_by_their_index(
    connection: sqlite3.Connection, after: bool
) -> None:
    shown_plan = " ".join(plan_of(connection, pending_approvals(after=after)))
    assert "ix_waits_approvals" in shown_plan
    assert "TEMP B-TREE" not in shown_plan
    for expires in (False, True):
        plan = " ".join(plan_of(connection, awaited(expires=expires, after=after)))
        assert "ix_waits_awaited" in plan
        assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("agents", [0, 1, 3])
def test_a_page_of_records_walks_down_an_index(connection: sqlite3.Connection, agents: int) -> None:
    index = "ix_executions_workspace_id_agent_id_id" if agents else "ix_executions_workspace_id_id"
    for statement in (executions_of_page(agents), sums_of_page(agents)):
        plan = plan_of(connection, statement)
        assert sum(f"COVERING INDEX {index}" in line for line in plan) == (agents or 1)
        assert all(MADE.fullmatch(line) for line in plan if line.startswith("SCAN")), plan
        assert agents > 1 or "USE TEMP B-TREE FOR ORDER BY" not in plan
