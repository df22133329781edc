"""`outlast serve`: its first start, its key, and how it leaves."""

import signal
import stat
import time

import httpx2
import pytest

from tests.cli.world import BOUND, Place
from tests.database import SQLITE


def test_the_first_start_shows_the_key_once_and_keeps_it_for_its_owner_alone(place: Place) -> None:
    first = place.serve()
    file = place.data / "api_key"
    assert first.client(place.key).get("/v1/agents").status_code == 200
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.data.stat().st_mode) == 0o700
    code, out, err = first.stop(signal.SIGTERM)
    assert code == 0
    assert out.count(place.key) == 1
    assert "demo, careful" in out
    assert place.key not in err

    kept = place.key
    second = place.serve()
    assert second.client(kept).get("/v1/agents").status_code == 200
    code, out, err = second.stop(signal.SIGINT)
    assert code == 0
    assert place.key == kept
    assert kept not in out + err
    assert str(file) in out


def test_a_given_key_opens_and_is_neither_kept_nor_shown(place: Place) -> None:
    server = place.serve(OUTLAST_API_KEY="chosen-by-the-operator")
    assert server.client("chosen-by-the-operator").get("/v1/agents").status_code == 200
    assert server.client("another").get("/v1/agents").status_code == 401
    code, out, err = server.stop(signal.SIGTERM)
    assert code == 0
    assert "chosen-by-the-operator" not in out + err
    assert not (place.data / "api_key").exists()


def test_sigterm_drains_and_the_next_start_finishes_what_was_left(place: Place) -> None:
    server = place.serve("--drain-seconds", "2")
    client = server.client(place.key)
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

    (place.folder / "script.yaml").write_text(
        (place.folder / "script.yaml").read_text().replace("delay_ms: 600000", "delay_ms: 0")
    )
    again = place.serve()
    frames = again.client(place.key).get(f"/v1/executions/{execution}/stream").text
    assert '"status":"completed"' in frames
    assert frames.count('"tool_call_end"') == 1


def test_a_second_signal_ends_at_once(place: Place) -> None:
    server = place.serve("--drain-seconds", "600")
    client = server.client(place.key)
    body = {"input": "hold on", "background": True}
    execution = client.post("/v1/agents/demo/execute", json=body).json()["id"]
    with client.stream("GET", f"/v1/executions/{execution}/stream") as stream:
        assert any("tool_call_end" in line for line in stream.iter_lines())
    server.process.signal(signal.SIGTERM)
    _until_not_ready(server.url)

    code, _, _ = server.stop(signal.SIGTERM)

    assert code == 128 + signal.SIGTERM


@pytest.mark.only(SQLITE)
def test_a_port_in_use_is_told_in_one_line(place: Place) -> None:
    place.serve()
    code, _, err = place.run("serve", OUTLAST_DATA_DIR=str(place.folder / "other"))
    assert code == 2
    assert err.startswith("outlast: Cannot listen on 127.0.0.1:")
    assert err.count("\n") == 1


@pytest.mark.only(SQLITE)
def test_a_data_folder_that_takes_no_files_is_told_in_one_line(place: Place) -> None:
    code, _, err = place.run("serve", "--data-dir", "/proc/self")
    assert code == 2
    assert err.startswith("outlast: The data folder /proc/self cannot be ")
    assert err.count("\n") == 1


@pytest.mark.only(SQLITE)
def test_a_second_server_on_the_same_data_says_who_has_it(place: Place) -> None:
    place.serve()
    code, _, err = place.run("serve", "--port", "0")
    assert code == 2
    assert "is in use by process" in err
    assert err.count("\n") == 1


@pytest.mark.only(SQLITE)
def test_an_agents_file_that_is_wrong_is_told_without_a_traceback(place: Place) -> None:
    (place.folder / "agents.yaml").write_text("agents: [{name: x, modle: y}]")
    code, _, err = place.run("serve")
    assert code == 2
    assert "agents.yaml:1" in err
    assert "Traceback" not in err


def test_a_revoked_key_opens_nothing_within_a_second(place: Place) -> None:
    server = place.serve()
    code, out, _ = place.run("keys", "create", "--json")
    assert code == 0
    key = httpx2.Response(200, text=out).json()
    client = server.client(key["key"])
    assert client.get("/v1/agents").status_code == 200

    code, _, _ = place.run("keys", "revoke", key["id"])
    revoked = time.monotonic()
    assert code == 0

    while client.get("/v1/agents").status_code != 401:
        assert time.monotonic() - revoked < 2


def test_the_first_key_stays_revoked_after_a_restart(place: Place) -> None:
    server = place.serve()
    keys = place.run("keys", "list")[1]
    place.run("keys", "revoke", keys.split("\t")[0])
    server.stop(signal.SIGTERM)

    place.environment["OUTLAST_PORT"] = "0"
    again = place.serve()

    assert again.client(place.key).get("/v1/agents").status_code == 401
    assert "is revoked" in again.stop(signal.SIGTERM)[1]


def _until_not_ready(url: str) -> None:
    end = time.monotonic() + BOUND
    while (status := httpx2.get(f"{url}/readyz").status_code) != 503:
        assert status == 200
        assert time.monotonic() < end
