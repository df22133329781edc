"""The tests' own Postgres: what it promises to those who stop and kill it."""

import os
import signal
import subprocess
import sys

import psycopg
import pytest

from tests.support.postgres import BOUND, Cluster, Databases

STARTER = """
import sys
from tests.support.postgres import Cluster

cluster = Cluster().start()
print(cluster.url(), flush=True)
sys.stdin.read()
"""


def written(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS number")
        connection.execute("CREATE TABLE noted (id int GENERATED ALWAYS AS IDENTITY, word text)")


def read(url: str) -> list[tuple[int]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT number FROM kept").fetchall()


@pytest.mark.usefixtures("postgres")
def test_what_was_committed_outlives_every_end_on_the_same_port() -> None:
    with Cluster() as cluster:
        port, pid = cluster.port, cluster.pid
        written(cluster.url())
        cluster.stop("fast")
        cluster.start()
        assert read(cluster.url()) == [(1,)]
        cluster.stop("immediate")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(cluster.url())
        cluster.start()
        assert read(cluster.url()) == [(1,)]
        os.kill(cluster.pid, signal.SIGKILL)
        cluster.stop()
        cluster.start()
        assert read(cluster.url()) == [(1,)]
        assert (cluster.port == port, cluster.pid == pid) == (True, False)


@pytest.mark.usefixtures("postgres")
def test_it_goes_with_whoever_started_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        url = starter.stdout.readline().strip()
        connection = psycopg.connect(url, autocommit=True)
        starter.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute(f"SELECT pg_sleep({BOUND})")
    connection.close()


def test_every_database_is_empty_and_its_own(postgres: Databases) -> None:
    first, second = postgres.migrated(written), postgres.migrated(written)
    with psycopg.connect(first) as connection:
        connection.execute("DELETE FROM kept")
    assert (read(first), read(second)) == ([], [(1,)])
    for url in (first, second):
        postgres.drop(url)
    assert read(postgres.migrated(written)) == [(1,)]


def test_a_database_is_given_out_again_without_what_was_written(postgres: Databases) -> None:
    note = "INSERT INTO noted (word) VALUES ('a') RETURNING id, (SELECT count(*) FROM noted)"
    first = postgres.migrated(written)
    for _ in range(2):
        with psycopg.connect(first) as connection:
            assert connection.execute(note).fetchall() == [(1, 0)]
        postgres.drop(first)
        assert postgres.migrated(written) == first
    postgres.drop(first)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM kept",
        "UPDATE kept SET number = 2",
        "ALTER TABLE noted ADD COLUMN more text",
        "ALTER TABLE noted RENAME TO others",
        "CREATE INDEX ON noted (word)",
        "DROP TABLE noted",
        "GRANT SELECT ON noted TO PUBLIC",
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ANALYZE kept",
        "INSERT INTO noted (word) SELECT repeat('a', 100) FROM generate_series(1, 1000)",
    ],
)
def test_a_database_that_was_changed_in_another_way_is_not(
    postgres: Databases, change: str
) -> None:
    url = postgres.migrated(written)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(change.encode())
    postgres.drop(url)
    assert postgres.migrated(written) != url
