"""On a Postgres with a hundred thousand executions every statement finds its rows by an index.

The plans are those that Postgres makes for the values at hand, and those that it settles on once a
connection has prepared a statement and run it a few times.
"""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.dialects import postgresql

from outlast.store.agents import list_agents
from outlast.store.conversations.rows import list_conversations
from outlast.store.driver import BatchStatement, Statement
from outlast.store.executions import joined
from outlast.store.executions.lists import list_executions
from outlast.store.records import executions_of_page, sums_of_page
from outlast.store.waits.awaited import awaited
from outlast.store.waits.rows import pending_approvals
from tests.support.databases import migrate_postgres
from tests.support.large_database import fill
from tests.support.postgres import Databases
from tests.support.query_plans import CONVERSATIONS, LISTS, MORE, STATEMENTS, statements_of

DIALECT = postgresql.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
RUNS = 7
"""Postgres looks for one plan for all values with the sixth."""
BIG, SMALL = "ws_big", "ws_7"
"""In the big one a walk over all workspaces' rows, in their order, is as good as its own index."""
MAY_SCAN = {
    "EMBEDDING_MODELS": "all of them are wanted: `outlast doctor`",
    "WORKSPACES": "all of them are wanted",
    "WORKSPACES_TO_SUM": "all of them are looked at",
    "DUE_WORKSPACES": "all of them are looked at",
    "_TAKE": "a lease or two",
    "_HELD": "a lease or two",
    "_RELEASE": "a lease or two",
}
INDICES = {
    "FIND_MEMORY_ITEMS": "ix_memory_items_words",
    "FIND_NEWEST_MEMORY_ITEMS": "ix_memory_items_store_id_updated_at_id",
    "NEWEST_MEMORY_ITEMS": "ix_memory_items_store_id_updated_at_id",
    "MEMORY_TO_ERASE": "ix_memory_stores_erasing_since",
    "MEMORY_OF_EXECUTION": "ix_memory_versions_execution_id",
    "LOST_REQUESTS": "ix_reserved_requests_at",
    "STORES_TO_EMBED": "ix_memory_stores_embed_at",
    "ITEMS_TO_EMBED": "ix_memory_vectors_due_at",
    "NEXT_TO_EMBED": "ix_memory_vectors_due_at",
    "CHANGED_VECTORS": "ix_memory_vectors_changed",
    "DUE_WAITS": "ix_waits_due_at",
    "WHO_IS_AWAITED": "ix_waits_open",
    "APPEND_EVENT": "pk_events",
    "LOG": "pk_events",
    "REQUESTED": "ix_executions_pause_requested",
    "DUE_CONVERSATIONS": "ix_conversations_workspace_id_last_active_at_id",
    "COUNT_DUE": "ix_conversations_workspace_id_last_active_at_id",
    "SUM_DUE": "ix_conversations_workspace_id_last_active_at_id",
    "STEP": "ix_steps_id",
    "UNFINISHED": "ix_executions_unfinished",
    "WORKSPACES_TO_SUM": "ix_charges_workspace_id_at",
    "USAGE_OF_ALL": "pk_usage_hours",
    "SUM_HOUR": "ix_charges_workspace_id_at",
}
VALUES = {
    "workspace": SMALL,
    "limit": "21",
    "id": "exec_00000000000000000000099001",
    "conversation": "conv_00000000000000000000024001",
    "conversation_id": "conv_00000000000000000000024001",
    "agent_id": "agt_00000000000000000000000007",
    "chat_id": "chat4001",
    "user": "user4001",
    "parent_id": "exec_00000000000000000000099999",
    "status": "failed",
    "id_from": "exec_00000000000000000000050000",
    "id_before": "exec_00000000000000000000090000",
    "from_id": "exec_00000000000000000000090001",
    "until_id": "exec_00000000000000000000090100",
    "after": "exec_00000000000000000000090001",
    "behind_id": "exec_00000000000000000000090001",
    "before": "exec_00000000000000000000090001",
    "step_id": "step_99001",
    "offset": "20",
    "reach": "41",
    **{f"agent{n}": f"agt_{n:026d}" for n in range(3)},
    "after_execution": "exec_00000000000000000000099001",
    "after_call": "tc_00000000000000000000099001",
    "created_from": "50000000",
    "created_before": "90000000",
    "since": "100",
    "due_before": "2000",
    "now": "100000",
    "store": "mem_00000000000000000000000007",
    "given_store": "mem_00000000000000000000000007",
    "from_key": "k",
    "until_key": "l",
    "matched_by": "''000007w107'' & ''000007w7''",
}
"""What is not here is 1, whatever its type."""


@pytest.fixture(scope="module")
def connection(postgres: Databases) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    url = postgres.migrated(migrate_postgres)
    with psycopg.connect(url, autocommit=True) as connection:
        fill(connection)
        yield connection
    postgres.drop(url)


def plans_of(
    connection: psycopg.Connection[tuple[Any, ...]], statement: Statement, **given: str
) -> tuple[str, str]:
    """The plan for the values at hand, and the one of the last run."""
    text, constants = statement.compiled(DIALECT)
    names: list[str] = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    for number, name in enumerate(names, 1):
        text = text.replace(f"%({name})s", f"${number}")
    known = VALUES | constants | given
    values = ", ".join(f"'{known.get(name, 1)}'" for name in names)
    connection.execute(f"PREPARE planned AS {text}")
    try:
        explain = f"EXPLAIN EXECUTE planned({values})" if values else "EXPLAIN EXECUTE planned"
        plans = [
            "\n".join(str(row[0]) for row in connection.execute(explain).fetchall())
            for _ in range(RUNS)
        ]
    finally:
        connection.execute("DEALLOCATE planned")
    return plans[0], plans[-1]


JOINED = dict(statements_of(joined)) | {"APPEND_TEXTS": Statement(joined.APPEND_TEXTS)}
ARRAYS = {"id", "workspace", "segment", "pieces", "kind", "data", "at"}


@pytest.mark.parametrize("name", JOINED)
def test_no_joined_statement_scans_a_table(
    connection: psycopg.Connection[tuple[Any, ...]], name: str
) -> None:
    arrays = {each: f"{{{VALUES.get(each, 1)}}}" for each in ARRAYS}
    given = arrays if name == "APPEND_TEXTS" else {"from_status": "running"}
    for plan in plans_of(connection, JOINED[name], **given):
        assert "Seq Scan" not in plan, plan
        assert "pk_events" in plan, plan


IN_ARRAYS = {
    name: Statement(found.arrays)
    for name, found in STATEMENTS.items()
    if isinstance(found, BatchStatement) and name != "APPEND_TEXT"
}


@pytest.mark.parametrize("name", IN_ARRAYS)
def test_no_statement_of_many_scans_a_table(
    connection: psycopg.Connection[tuple[Any, ...]], name: str
) -> None:
    statement = IN_ARRAYS[name]
    text, constants = statement.compiled(DIALECT)
    names = set(re.findall(r"%\((\w+)\)s", text)) - constants.keys()
    given = {each: f"{{{VALUES.get(each, 1)}}}" for each in names}
    for plan in plans_of(connection, statement, **given):
        assert "Seq Scan" not in plan, plan


@pytest.mark.parametrize("name", [name for name in STATEMENTS if name not in MAY_SCAN])
def test_no_statement_scans_a_table(
    connection: psycopg.Connection[tuple[Any, ...]], name: str
) -> None:
    given = {"before": "3"} if name.startswith(("TURN", "MEMORY_VERSIONS")) else {}
    for plan in plans_of(connection, STATEMENTS[name], **given):
        assert "Seq Scan" not in plan, plan


@pytest.mark.parametrize("name", INDICES)
def test_a_statement_takes_the_index_that_is_made_for_it(
    connection: psycopg.Connection[tuple[Any, ...]], name: str
) -> None:
    for plan in plans_of(connection, STATEMENTS[name]):
        assert INDICES[name] in plan, plan


@pytest.mark.parametrize("filters", LISTS, ids=lambda filters: "+".join(filters) or "all")
@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_list_walks_down_its_index(
    connection: psycopg.Connection[tuple[Any, ...]],
    filters: tuple[str, ...],
    more: tuple[str, ...],
    backwards: bool,
) -> None:
    statement = list_executions(frozenset(filters + more), backwards=backwards)
    for plan in plans_of(connection, statement):
        assert LISTS[filters] in plan, plan
        assert "Seq Scan" not in plan, plan
        assert "Sort" not in plan or filters, plan
    for plan in plans_of(connection, statement, workspace=BIG):
        assert "Seq Scan" not in plan, plan
        assert "Sort" not in plan or filters, plan


@pytest.mark.parametrize("more", [*MORE, ("status",), ("agent_id", "after")])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("values", [1, 2])
def test_a_list_by_metadata_finds_its_rows_by_index(
    connection: psycopg.Connection[tuple[Any, ...]],
    more: tuple[str, ...],
    backwards: bool,
    values: int,
) -> None:
    statement = list_executions(frozenset(more), backwards=backwards, values=values)
    given = {f"name{n}": "source" for n in range(values)}
    given |= {f"value{n}": "v101" for n in range(values)}
    for workspace in (SMALL, BIG):
        for plan in plans_of(connection, statement, workspace=workspace, **given):
            assert "Seq Scan" not in plan, plan
            assert "pk_execution_metadata" in plan or "ix_execution_metadata" in plan, plan


@pytest.mark.parametrize("filters", CONVERSATIONS, ids=lambda filters: "+".join(filters) or "all")
@pytest.mark.parametrize("after", [(), ("after",)])
def test_the_list_of_conversations_walks_down_an_index(
    connection: psycopg.Connection[tuple[Any, ...]],
    filters: tuple[str, ...],
    after: tuple[str, ...],
) -> None:
    statement = list_conversations(frozenset(filters + after))
    last = {"after_at": "12000", "after_id": "conv_00000000000000000000012000", "user": "user600"}
    for workspace in (SMALL, BIG):
        for plan in plans_of(connection, statement, workspace=workspace, **last):
            assert "Seq Scan" not in plan, plan
            assert "Sort" not in plan or filters, plan
    assert CONVERSATIONS[filters] in plans_of(connection, statement, **last)[0]


@pytest.mark.parametrize("after", [False, True])
def test_the_approvals_that_wait_are_found_by_their_index(
    connection: psycopg.Connection[tuple[Any, ...]], after: bool
) -> None:
    for plan in plans_of(connection, pending_approvals(after=after)):
        assert "ix_waits_approvals" in plan, plan
    for expires in (False, True):
        for plan in plans_of(connection, awaited(expires=expires, after=after), after_due="100"):
            assert "ix_waits_awaited" in plan, plan


@pytest.mark.parametrize("filters", [(), ("after",), ("before",)])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_list_of_agents_walks_down_its_index(
    connection: psycopg.Connection[tuple[Any, ...]], filters: tuple[str, ...], backwards: bool
) -> None:
    statement = list_agents(frozenset(filters), backwards=backwards)
    middle = "agt_00000000000000000000002501"
    for plan in plans_of(connection, statement, after=middle, before=middle):
        assert "ix_agents_workspace_id_id" in plan, plan
        assert "Seq Scan" not in plan, plan


@pytest.mark.parametrize("first", ["status", "roots", "agent_id"])
@pytest.mark.parametrize("second", ["parent_id", "chat_id", "conversation_id", "started_after"])
def test_a_list_by_two_filters_scans_no_table(
    connection: psycopg.Connection[tuple[Any, ...]], first: str, second: str
) -> None:
    statement = list_executions(frozenset((first, second)), backwards=False)
    for plan in plans_of(connection, statement):
        assert "Seq Scan" not in plan, plan


@pytest.mark.parametrize("agents", [0, 1, 3])
@pytest.mark.parametrize("workspace", [SMALL, BIG])
def test_a_page_of_records_scans_no_table(
    connection: psycopg.Connection[tuple[Any, ...]], agents: int, workspace: str
) -> None:
    for statement in (executions_of_page(agents), sums_of_page(agents)):
        for limit in ("10", "100"):
            for plan in plans_of(connection, statement, workspace=workspace, limit=limit):
                assert "Seq Scan" not in plan, plan
