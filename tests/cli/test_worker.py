"""`outlast worker`, `outlast serve --no-worker` and opening a database on Postgres."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx2
import orjson
import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import POSTGRESQL, SQLITE, Database
from tests.support.postgres import Databases

Outlast = Callable[..., tuple[int, str, str]]
WITHOUT_POSTGRES: Final = {
    "worker": "A worker needs a database that processes share",
    "serve --no-worker": "SQLite takes one process, which serves and works",
}
REFUSED: Final = {
    "postgresql://u:hush@127.0.0.1:1/town": (1, "The database cannot be reached: "),
    "postgresql://u:hu%zzsh@127.0.0.1/town": (2, "the URL cannot be read"),
    "postgresql://u:hu@sh@127.0.0.1/town": (2, "percent-encoded"),
    "mysql://u:hush@127.0.0.1/town": (2, "postgresql://USER:PASSWORD@HOST/DATABASE"),
}


@pytest.fixture
def database(postgres: Databases, tmp_path: Path) -> Database:
    """On Postgres alone."""
    return Database(POSTGRESQL, postgres.empty(), tmp_path)


@pytest.mark.parametrize("line", WITHOUT_POSTGRES)
def test_on_sqlite_it_says_what_many_processes_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    command_line = CommandLine(
        tmp_path, Database(SQLITE, f"sqlite:///{tmp_path / 'outlast.db'}", tmp_path)
    )

    code, out, err = command_line.run(*line.split())

    assert (code, out) == (2, "")
    assert WITHOUT_POSTGRES[line] in err
    assert "OUTLAST_DATABASE_URL=postgresql://USER:PASSWORD@HOST/DATABASE" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize("line", ["migrate", "keys list", "agents list", "workspaces create acme"])
def test_a_database_that_cannot_be_used_is_reported_in_one_line_without_its_password(
    command_line: CommandLine, outlast: Outlast, line: str, url: str
) -> None:
    command_line.environment["OUTLAST_DATABASE_URL"] = url
    expected, text = REFUSED[url]

    code, out, err = outlast(*line.split())

    assert (code, out) == (expected, "")
    assert text in err
    assert err.startswith("outlast: ")
    assert err.count("\n") == 1
    assert "hu" not in err


@pytest.mark.parametrize("line", ["worker", "serve --no-worker"])
def test_a_process_that_cannot_open_its_database_ends_with_one_clear_line(
    command_line: CommandLine, database: Database, line: str
) -> None:
    missing = database.url + "_lost"
    code, out, err = command_line.run(*line.split(), OUTLAST_DATABASE_URL=missing)
    last = err.splitlines()[-1]
    assert (code, out) == (2, "")
    assert last.startswith("outlast: The database cannot be used: ")
    assert last.endswith("does not exist. outlast doctor says more.")
    assert "Traceback" not in err


def test_a_worker_that_cannot_start_as_configured_says_why(command_line: CommandLine) -> None:
    code, _, err = command_line.run("worker", "--agents", "missing.yaml")
    assert code == 2
    assert "there is no such file" in err

    code, _, err = command_line.run("worker", "--takeover-seconds", "0.5")
    assert (code, err) == (2, "outlast: OUTLAST_TAKEOVER_SECONDS must be at least 1.\n")

    server = command_line.serve("--no-worker")
    code, _, err = command_line.run("worker", "--port", server.url.rpartition(":")[2])
    assert code == 2
    assert "Cannot listen on 127.0.0.1:" in err.splitlines()[-1]


def test_one_process_serves_another_works_and_both_leave_at_sigterm(
    command_line: CommandLine,
) -> None:
    server = command_line.serve("--no-worker")
    client = server.client(command_line.key)
    body = {"input": "the sum", "background": True}
    execution = client.post("/v1/agents/demo/execute", json=body).json()["id"]
    assert client.get(f"/v1/executions/{execution}").json()["status"] == "queued"

    worker = command_line.start("worker", "--port", "0", "--concurrency", "3")
    health = worker.out.until(r"Outlast works with 3 places; health on (http://\S+)\n")[1]
    frames = client.get(f"/v1/executions/{execution}/stream").text
    assert '"status":"completed"' in frames
    assert httpx2.get(f"{health}/readyz").json() == {"status": "ready"}
    assert httpx2.get(f"{health}/healthz").status_code == 200
    assert 'outlast_executions_ended_total{status="completed"} 1.0' in (
        httpx2.get(f"{health}/metrics").text
    )
    assert httpx2.get(f"{health}/v1/agents").status_code == 404, "it serves no room"

    worker.signal(signal.SIGTERM)
    assert worker.wait()[0] == 0
    assert server.stop(signal.SIGTERM)[0] == 0


def test_a_worker_without_a_port_opens_none_and_leaves_at_ctrl_c(command_line: CommandLine) -> None:
    worker = command_line.start("worker", OUTLAST_PORT="8321")
    line = worker.out.until(r"Outlast works with 1000 places.*\n")[0]
    assert "health" not in line

    worker.signal(signal.SIGINT)
    code, _, err = worker.wait()
    assert code == 0
    assert "worker.draining" in err


def test_a_second_signal_ends_a_worker_at_once(command_line: CommandLine) -> None:
    server = command_line.serve("--no-worker")
    client = server.client(command_line.key)
    body = {"input": "hold on", "background": True}
    execution = client.post("/v1/agents/demo/execute", json=body).json()["id"]
    worker = command_line.start("worker", "--drain-seconds", "600")
    with client.stream("GET", f"/v1/executions/{execution}/stream") as stream:
        assert any("tool_call_end" in line for line in stream.iter_lines())
    worker.signal(signal.SIGTERM)
    worker.err.until("worker.draining")

    worker.signal(signal.SIGTERM)

    assert worker.wait()[0] == 128 + signal.SIGTERM


def test_help_says_what_the_commands_are_for(outlast: Outlast) -> None:
    def shown(*arguments: str) -> str:
        return " ".join(outlast(*arguments, "--help")[1].split())

    assert "Start as many as needed" in shown("worker")
    assert "--no-worker" in shown("serve")
    assert "unless the changelog says to stop them" in shown("migrate")
    assert "On Postgres it checks the workers too" in shown("doctor")
    assert "worker Run executions of a Postgres database" in shown()


def test_a_first_start_on_postgres_makes_schema_queue_workspace_and_key(
    command_line: CommandLine, outlast: Outlast
) -> None:
    server = command_line.serve("--no-worker")

    assert server.client(command_line.key).get("/v1/agents").status_code == 200
    found = {row["check"]: row for row in orjson.loads(outlast("doctor", "--json")[1])}
    assert found["schema"]["level"] == found["versions"]["level"] == "ok"
    assert "and takes work" in found["port"]["text"]
    assert "default" in outlast("workspaces", "list")[1]
