"""Where servers under test keep their state: copied, dropped, and named to their database."""

from pathlib import Path

import psycopg
import pytest
from bench.state import POSTGRESQL, SQLITE, Postgres, State, States

from tests.support.postgres import Databases

KINDS = (SQLITE, POSTGRESQL)


@pytest.fixture
def states(tmp_path: Path, postgres: Databases) -> States:
    return States(tmp_path, Postgres(postgres, "", None))


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_has_what_the_original_had_and_nothing_that_comes_later(
    states: States, kind: str
) -> None:
    original = states.empty(kind, "original")
    original.rows("CREATE TABLE words (word text)")
    original.rows("INSERT INTO words VALUES ('before')")
    copy = states.copy(original, "copy")
    original.rows("INSERT INTO words VALUES ('after')")
    assert copy.rows("SELECT word FROM words") == [("before",)]
    states.drop(original)
    assert copy.rows("SELECT word FROM words") == [("before",)]
    assert not original.folder.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_the_same_name_is_empty_again(states: States, kind: str) -> None:
    states.empty(kind, "one").rows("CREATE TABLE words (word text)")
    states.empty(kind, "one").rows("CREATE TABLE words (word text)")


def test_postgres_knows_a_process_by_its_name(states: States) -> None:
    state = states.empty(POSTGRESQL, "named")
    url = state.env("worker-2")["OUTLAST_DATABASE_URL"]
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT application_name FROM pg_stat_activity").fetchall()
    assert ("worker-2",) in found
    assert (
        State(POSTGRESQL, state.folder, "postgresql:///x?host=/y")
        .env("a")["OUTLAST_DATABASE_URL"]
        .endswith("?host=/y&application_name=a")
    )


def test_a_run_on_sqlite_alone_has_no_postgres(tmp_path: Path) -> None:
    states = States(tmp_path, None)
    assert "OUTLAST_DATABASE_URL" not in states.empty(SQLITE, "one").env("server")
    with pytest.raises(RuntimeError, match="no Postgres"):
        states.empty(POSTGRESQL, "one")
