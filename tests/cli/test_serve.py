"""`outlast serve`: its first start, its key, and how it leaves."""

import signal
import stat
import time

import httpx2
import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE
from tests.support.waiting import BOUND


def test_the_first_start_shows_the_key_once_and_keeps_it_for_its_owner_alone(
    command_line: CommandLine,
) -> None:
    first = command_line.serve()
    file = command_line.data / "api_key"
    assert first.client(command_line.key).get("/v1/agents").status_code == 200
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(command_line.data.stat().st_mode) == 0o700
    code, out, err = first.stop(signal.SIGTERM)
    assert code == 0
    assert out.count(command_line.key) == 1
    assert "demo, careful" in out
    assert command_line.key not in err

    kept = command_line.key
    second = command_line.serve()
    assert second.client(kept).get("/v1/agents").status_code == 200
    code, out, err = second.stop(signal.SIGINT)
    assert code == 0
    assert command_line.key == kept
    assert kept not in out + err
    assert str(file) in out


def test_commands_find_the_server_of_their_data_folder_whatever_its_port(
    command_line: CommandLine,
) -> None:
    server = command_line.serve()
    code, out, err = command_line.run("budgets", "list", "--json", OUTLAST_PORT="8321")
    assert (code, err) == (0, "")
    assert out
    assert server.stop(signal.SIGTERM)[0] == 0
    assert not (command_line.data / "address").exists()


def test_a_given_key_opens_and_is_neither_kept_nor_shown(command_line: CommandLine) -> None:
    server = command_line.serve(OUTLAST_API_KEY="chosen-by-the-operator")
    assert server.client("chosen-by-the-operator").get("/v1/agents").status_code == 200
    assert server.client("another").get("/v1/agents").status_code == 401
    code, out, err = server.stop(signal.SIGTERM)
    assert code == 0
    assert "chosen-by-the-operator" not in out + err
    assert not (command_line.data / "api_key").exists()


def test_sigterm_drains_and_the_next_start_finishes_what_was_left(
    command_line: CommandLine,
) -> None:
    server = command_line.serve("--drain-seconds", "2")
    client = server.client(command_line.key)
    body = {"input": "hold on", "background": True}
    execution = client.post("/v1/agents/demo/execute", json=body).json()["id"]
    with client.stream("GET", f"/v1/executions/{execution}/stream") as stream:
        lines = stream.iter_lines()
        assert any("tool_call_end" in line for line in lines)
        server.process.signal(signal.SIGTERM)
        _until_not_ready(server.url)
        rest = list(lines)
    assert "retry: 1000" in rest
    assert not any('"done"' in line or '"error"' in line for line in rest)
    code, _, _ = server.process.wait()
    assert code == 0

    (command_line.folder / "script.yaml").write_text(
        (command_line.folder / "script.yaml").read_text().replace("delay_ms: 600000", "delay_ms: 0")
    )
    again = command_line.serve()
    frames = again.client(command_line.key).get(f"/v1/executions/{execution}/stream").text
    assert '"status":"completed"' in frames
    assert frames.count('"tool_call_end"') == 1


def test_a_second_signal_ends_at_once(command_line: CommandLine) -> None:
    server = command_line.serve("--drain-seconds", "600")
    client = server.client(command_line.key)
    body = {"input": "hold on", "background": True}
    execution = client.post("/v1/agents/demo/execute", json=body).json()["id"]
    with client.stream("GET", f"/v1/executions/{execution}/stream") as stream:
        assert any("tool_call_end" in line for line in stream.iter_lines())
    server.process.signal(signal.SIGTERM)
    _until_not_ready(server.url)

    code, _, _ = server.stop(signal.SIGTERM)

    assert code == 128 + signal.SIGTERM


@pytest.mark.only(SQLITE)
def test_a_port_in_use_is_reported_in_one_line(command_line: CommandLine) -> None:
    command_line.serve()
    code, _, err = command_line.run("serve", OUTLAST_DATA_DIR=str(command_line.folder / "other"))
    assert code == 2
    assert err.startswith("outlast: Cannot listen on 127.0.0.1:")
    assert err.count("\n") == 1


@pytest.mark.only(SQLITE)
def test_a_data_folder_that_takes_no_files_is_reported_in_one_line(
    command_line: CommandLine,
) -> None:
    code, _, err = command_line.run("serve", "--data-dir", "/proc/self")
    assert code == 2
    assert err.startswith("outlast: The data folder /proc/self cannot be ")
    assert err.count("\n") == 1


@pytest.mark.only(SQLITE)
def test_a_second_server_on_the_same_data_says_who_has_it(command_line: CommandLine) -> None:
    command_line.serve()
    code, _, err = command_line.run("serve", "--port", "0")
    assert code == 2
    assert "is in use by process" in err
    assert err.count("\n") == 1


@pytest.mark.only(SQLITE)
def test_an_agents_file_that_is_wrong_is_reported_without_a_traceback(
    command_line: CommandLine,
) -> None:
    (command_line.folder / "agents.yaml").write_text("agents: [{name: x, modle: y}]")
    code, _, err = command_line.run("serve")
    assert code == 2
    assert "agents.yaml:1" in err
    assert "Traceback" not in err


def test_a_revoked_key_opens_nothing_within_a_second(command_line: CommandLine) -> None:
    server = command_line.serve()
    code, out, _ = command_line.run("keys", "create", "--json")
    assert code == 0
    key = httpx2.Response(200, text=out).json()
    client = server.client(key["key"])
    assert client.get("/v1/agents").status_code == 200

    code, _, _ = command_line.run("keys", "revoke", key["id"])
    revoked = time.monotonic()
    assert code == 0

    while client.get("/v1/agents").status_code != 401:
        assert time.monotonic() - revoked < 2


def test_the_first_key_stays_revoked_after_a_restart(command_line: CommandLine) -> None:
    server = command_line.serve()
    keys = command_line.run("keys", "list")[1]
    command_line.run("keys", "revoke", keys.split("\t")[0])
    server.stop(signal.SIGTERM)

    command_line.environment["OUTLAST_PORT"] = "0"
    again = command_line.serve()

    assert again.client(command_line.key).get("/v1/agents").status_code == 401
    assert "is revoked" in again.stop(signal.SIGTERM)[1]


def _until_not_ready(url: str) -> None:
    end = time.monotonic() + BOUND
    while (status := httpx2.get(f"{url}/readyz").status_code) != 503:
        assert status == 200
        assert time.monotonic() < end
