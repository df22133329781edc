"""Connections to a database of the tests that the next server gets."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import Connection

from tests.support.databases import migrate_postgres
from tests.support.postgres import Databases

LEFT = """
SELECT current_setting('statement_timeout'), (SELECT count(*) FROM pg_prepared_statements),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
    (SELECT count(*) FROM pg_listening_channels()), to_regclass('pg_temp.mine')::text
"""


@pytest.fixture
def url(postgres: Databases) -> Iterator[str]:
    url = postgres.migrated(migrate_postgres)
    yield url
    postgres.drop(url)


def connected(url: str) -> Connection:
    return psycopg.connect(url, autocommit=True)


def pid(connection: Connection) -> int:
    return connection.info.backend_pid


def test_the_next_gets_the_session_of_one_that_was_closed_and_nothing_of_it(url: str) -> None:
    with connected(url) as first:
        made = first.execute(LEFT).fetchone()
        first.execute("SET statement_timeout TO '7s'; CREATE TEMP TABLE mine (id int)")
        first.execute("SELECT pg_advisory_lock(1)", prepare=True)
        first.execute("LISTEN news; NOTIFY news, 'old'")
        session = pid(first)
        left = first.execute(LEFT).fetchone()
        assert left == ("7s", 1, 1, 1, "mine")
    assert first.closed
    with connected(url) as second, connected(url) as third:
        assert (pid(second), pid(third) == session) == (session, False)
        assert second.execute(LEFT).fetchone() == made
        second.execute("LISTEN news; NOTIFY news, 'new'")
        assert [one.payload for one in second.notifies(timeout=5, stop_after=1)] == ["new"]


def test_one_with_other_parameters_gets_a_session_of_its_own(url: str) -> None:
    with connected(url) as first:
        session = pid(first)
    with connected(f"{url}?application_name=another") as second:
        assert pid(second) != session


def test_a_session_that_has_ended_is_not_given(url: str) -> None:
    with connected(url) as first, connected(url) as second:
        session = pid(first)
        first.close()
        assert second.execute("SELECT pg_terminate_backend(%s, 5000)", [session]).fetchone()
        with connected(url) as third:
            assert pid(third) != session
            assert third.execute("SELECT 1").fetchone() == (1,)


def test_one_that_is_closed_within_a_transaction_ends(url: str) -> None:
    first = connected(url)
    first.execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
    session = pid(first)
    first.close()
    with connected(url) as second:
        assert pid(second) != session
        second.execute("SELECT pg_advisory_xact_lock(1)")


def test_a_database_can_be_emptied_and_deleted_beside_sessions_that_are_kept(
    postgres: Databases,
) -> None:
    url = postgres.migrated(migrate_postgres)
    with connected(url) as first:
        session = pid(first)
    postgres.drop(url)
    assert postgres.migrated(migrate_postgres) == url
    with connected(url) as second:
        assert pid(second) == session
        second.execute("CREATE TABLE another (id int)")  # another schema: it is not given out again
    postgres.drop(url)
    assert postgres.migrated(migrate_postgres) != url
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        connected(url)
