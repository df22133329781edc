"""`outlast purge` and `outlast vacuum`, on the database of a server."""

import sqlite3
from contextlib import closing

import orjson
import pytest

from outlast.model.retention import DAY_MILLIS
from tests.cli.test_commands import Outlast
from tests.support.command_line import CommandLine
from tests.support.databases import POSTGRESQL, SQLITE


def age(command_line: CommandLine, days: int) -> None:
    """Let all conversations be inactive for so many more days."""
    with closing(sqlite3.connect(command_line.data / "outlast.db")) as file, file:
        millis = days * DAY_MILLIS
        file.execute("UPDATE conversations SET last_active_at = last_active_at - ?", (millis,))


@pytest.mark.only(SQLITE)
def test_what_is_due_is_shown_and_deleted_and_its_space_given_back(
    outlast: Outlast, command_line: CommandLine
) -> None:
    text = "secret " * 20_000
    for _ in range(3):
        assert outlast("run", "demo", text)[0] == 0
    age(command_line, 100)
    assert outlast("run", "demo", "young")[0] == 0
    code, out, noted = outlast("purge", "--dry-run")
    assert (code, out, "Nothing is past" in noted) == (0, "", True)
    assert outlast("workspaces", "set-plan", "default", "starter", "--yes")[0] == 0
    (due,) = orjson.loads(outlast("purge", "--dry-run", "--json")[1])
    assert (due["workspace"], due["plan"]) == ("default", "starter")
    assert (due["conversations"], due["turns"]) == (3, 3)
    assert outlast("purge", "--dry-run")[1].startswith("default\tstarter\t3\t3\t20")

    done = outlast("purge", "--fast")
    assert done == (0, "deleted: conversations 3, executions emptied 3\n", "")
    assert orjson.loads(outlast("purge", "--json")[1]) == {"conversations": 0, "executions": 0}
    with closing(sqlite3.connect(command_line.data / "outlast.db")) as file:
        assert file.execute("SELECT count(*) FROM conversations").fetchall() == [(1,)]
        file.execute("CREATE VIRTUAL TABLE words USING fts5(said)")
        file.execute("INSERT INTO words VALUES ('kept'), ('hushed')")
        file.execute("DELETE FROM words WHERE said = 'hushed'")
        file.commit()

    path = command_line.data / "outlast.db"
    before = path.stat().st_size
    code, out, noted = outlast("vacuum")
    assert (code, "MiB after" in out, "vacuuming" in noted) == (0, True, True)
    assert path.stat().st_size < before / 2
    assert b"hushed" not in path.read_bytes()
    wal = path.with_name("outlast.db-wal")
    assert not wal.exists() or not wal.stat().st_size


@pytest.mark.only(SQLITE)
def test_a_file_in_use_is_not_vacuumed(outlast: Outlast, command_line: CommandLine) -> None:
    from outlast.store.sqlite.lock import FileLock

    assert outlast("vacuum")[0] == 2, "there is no file yet"
    assert outlast("workspaces", "create", "acme")[0] == 0
    lock = FileLock(command_line.data / "outlast.db")
    try:
        code, _, err = outlast("vacuum")
    finally:
        lock.release()
    assert code != 0
    assert "is in use by process" in err


@pytest.mark.only(POSTGRESQL)
def test_on_postgres_a_vacuum_is_a_statement_to_run(outlast: Outlast) -> None:
    code, out, _ = outlast("vacuum")
    assert (code, out) == (0, "VACUUM (ANALYZE);\n"), "of all tables: memory stores' too"
    assert outlast("workspaces", "create", "acme")[0] == 0
    assert outlast("purge")[1] == "deleted: conversations 0, executions emptied 0\n"
