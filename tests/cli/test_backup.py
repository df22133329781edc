"""`outlast backup` and `outlast restore`, beside a server and without one."""

import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from outlast.store.sqlite import backup as module
from outlast.store.sqlite.backup import back_up
from outlast.store.sqlite.lock import FileLock
from tests.cli.test_commands import Outlast
from tests.support.command_line import CommandLine
from tests.support.databases import POSTGRESQL, SQLITE
from tests.support.python_process import PythonProcess

WRITER = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("PRAGMA journal_mode=WAL")
file.execute("CREATE TABLE twice (a, b)")
file.executemany("INSERT INTO twice VALUES (?, ?)", [(0, "x" * 4000)] * 3000)
print("ready", flush=True)
n = 0
while True:
    n += 1
    file.execute("BEGIN")
    file.execute("UPDATE twice SET a = ? WHERE rowid = 1", (n,))
    file.execute("UPDATE twice SET a = ? WHERE rowid = 3000", (n,))
    file.execute("COMMIT")
    if n == 100:
        print("writing", flush=True)
"""
NEWER = "CREATE TABLE compatibility AS SELECT '9998' AS oldest"


@pytest.mark.only(SQLITE)
def test_a_backup_of_a_running_server_goes_on_elsewhere(command_line: CommandLine) -> None:
    server = command_line.serve()
    client = server.client(command_line.key)
    done = client.post("/v1/agents/demo/execute", json={"input": "Hello"}).json()
    body = {"input": "hold on", "background": True}
    held = client.post("/v1/agents/demo/execute", json=body).json()["id"]
    with client.stream("GET", f"/v1/executions/{held}/stream") as stream:
        assert any("tool_call_end" in line for line in stream.iter_lines())
    file = command_line.folder / "copies.db"
    code, out, noted = command_line.run("backup", str(file))
    assert (code, out.startswith(f"{file}: ")) == (0, True)
    assert "secret_key is not in it" in noted
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    later = client.post("/v1/agents/demo/execute", json={"input": "Later"}).json()
    code, _, refused = command_line.run("restore", str(file), "--replace")
    assert (code, "is in use by process" in refused) == (2, True)
    server.process.kill()

    code, _, refused = command_line.run("restore", str(file))
    assert (code, "add --replace to keep it aside" in refused) == (2, True)
    code, out, noted = command_line.run("restore", str(file), "--replace")
    assert (code, out) == (0, f"{command_line.data}/outlast.db is as {file} has it\n")
    (aside,) = command_line.data.glob("outlast.db.before-*Z")
    assert str(aside) in noted
    assert later["id"] in _executions(aside)
    assert _executions(command_line.data / "outlast.db") == _executions(file)

    client = command_line.serve().client(command_line.key)
    assert client.get(f"/v1/executions/{done['id']}").json()["output"] == "You said: Hello"
    assert client.get(f"/v1/executions/{held}").json()["status"] == "running"
    assert client.get(f"/v1/executions/{later['id']}").status_code == 404


@pytest.mark.only(SQLITE)
def test_a_backup_is_restored_where_there_was_no_database(
    outlast: Outlast, command_line: CommandLine
) -> None:
    assert outlast("backup", "one.db")[0] == 2, "there is no database"
    assert outlast("run", "demo", "Hello")[0] == 0
    assert outlast("backup", "one.db")[0] == 0
    code, _, err = outlast("backup", "one.db")
    assert (code, "There is a file one.db already" in err) == (2, True)
    shutil.rmtree(command_line.data)
    code, _, noted = outlast("restore", "one.db")
    assert (code, "Copy the secret key of its server to" in noted) == (0, True)
    path = command_line.data / "outlast.db"
    assert _executions(path) == _executions(command_line.folder / "one.db") != []


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "There is no file wrong.db"),
        (b"", "wrong.db is no database of Outlast"),
        (b"nothing of the kind" * 100, "wrong.db is damaged: file is not a database"),
        ("CREATE TABLE t (a)", "wrong.db is no database of Outlast"),
        ("CREATE TABLE alembic_version (version_num)", "wrong.db is no database of Outlast"),
        (
            "CREATE TABLE alembic_version AS SELECT '9999' AS version_num;" + NEWER,
            "wrong.db was written by a newer Outlast",
        ),
    ],
)
def test_what_is_no_backup_changes_nothing(
    outlast: Outlast, command_line: CommandLine, content: bytes | str | None, problem: str
) -> None:
    assert outlast("run", "demo", "Hello")[0] == 0
    wrong = command_line.folder / "wrong.db"
    if isinstance(content, bytes):
        wrong.write_bytes(content)
    elif content is not None:
        with closing(sqlite3.connect(wrong)) as file:
            file.executescript(content)
    before = {path: path.read_bytes() for path in command_line.data.iterdir()}
    code, out, err = outlast("restore", "wrong.db", "--replace")
    assert (code, out, problem in err) == (2, "", True), err
    assert {path: path.read_bytes() for path in command_line.data.iterdir()} == before


@pytest.mark.only(SQLITE)
def test_a_damaged_database_is_kept_aside_and_not_copied(
    outlast: Outlast, command_line: CommandLine
) -> None:
    assert outlast("run", "demo", "Hello")[0] == 0
    assert outlast("backup", "good.db")[0] == 0
    path = command_line.data / "outlast.db"
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 40_000)
    path.with_name("outlast.db-wal").write_bytes(b"left over")
    code, _, err = outlast("backup", "bad.db")
    assert (code, "damaged" in err or "malformed" in err) == (2, True)
    assert not (command_line.folder / "bad.db").exists()
    assert outlast("restore", "good.db", "--replace")[0] == 0
    assert not path.with_name("outlast.db-wal").exists()
    assert outlast("executions", "list")[1].count("completed") == 1


@pytest.mark.only(SQLITE)
def test_a_file_in_a_folder_that_is_not_there_is_refused(outlast: Outlast) -> None:
    assert outlast("run", "demo", "Hello")[0] == 0
    code, _, err = outlast("backup", "nowhere/one.db")
    assert (code, "nowhere/one.db.new cannot be written: No such file" in err) == (2, True)


@pytest.mark.only(SQLITE)
def test_a_database_that_another_process_writes_is_copied_at_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGES", 1)
    path, to = tmp_path / "busy.db", tmp_path / "copy.db"
    reports: list[int] = []
    with PythonProcess(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for expected in ("ready\n", "writing\n"):
            assert writer.stdout.readline() == expected
        back_up(path, to, lambda copied, _: reports.append(copied))
        writer.send_signal(signal.SIGKILL)
    assert reports == sorted(set(reports)), "it began anew"
    assert len(reports) >= 3000
    with closing(sqlite3.connect(to)) as copy:
        ((first,), (last,)) = copy.execute("SELECT a FROM twice WHERE rowid IN (1, 3000)")
    assert first == last >= 100


@pytest.mark.only(SQLITE)
def test_a_restore_that_fails_leaves_no_file(outlast: Outlast, command_line: CommandLine) -> None:
    (command_line.folder / "wrong.db").write_bytes(b"nothing of the kind" * 100)
    assert outlast("restore", "wrong.db")[0] == 2
    assert [path.name for path in command_line.data.iterdir()] == ["outlast.db.lock"]
    FileLock(command_line.folder / "wrong.db").release()


@pytest.mark.only(POSTGRESQL)
def test_on_postgres_both_name_its_own_tools(outlast: Outlast, command_line: CommandLine) -> None:
    name = command_line.environment["OUTLAST_DATABASE_URL"].rpartition("/")[2]
    code, _, err = outlast("backup", "a file")
    assert (code, f"pg_dump --format=custom --file='a file' {name}" in err) == (2, True)
    code, _, err = outlast("restore", "a file")
    assert (code, f"pg_restore --clean --dbname={name} 'a file'" in err) == (2, True)


def _executions(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [one for (one,) in connection.execute("SELECT id FROM executions ORDER BY id")]
