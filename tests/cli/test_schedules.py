"""`outlast schedules`, as processes: through a server, and on the database without one."""

import signal
from collections.abc import Callable

import orjson
import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE

Outlast = Callable[..., tuple[int, str, str]]


@pytest.mark.only(SQLITE)
def test_a_schedule_is_made_shown_run_paused_and_removed(
    command_line: CommandLine, outlast: Outlast
) -> None:
    server = command_line.serve()
    client = server.client(command_line.key)
    code, out, err = outlast(
        "schedules", "create", "demo", "--at", "09:00", "--at", "17:30",
        "--timezone", "Europe/Berlin", "--input", "the sum", "--metadata", "kind=daily",
    )  # fmt: skip
    assert (code, "Next run: " in err) == (0, True)
    made = out.strip()
    _, out, _ = outlast("schedules", "list", "--agent", "demo")
    assert out.split("\t")[:4] == [made, "active", "09:00 17:30", "Europe/Berlin"]

    code, out, _ = outlast("schedules", "fire", made)
    assert (code, out[:5]) == (0, "exec_")
    outlast("executions", "watch", out.strip())
    execution = client.get(f"/v1/executions/{out.strip()}").json()
    assert (execution["status"], execution["metadata"]) == ("completed", {"kind": "daily"})
    assert outlast("schedules", "pause", made)[1] == f"{made} is paused. Next run: -\n"
    assert outlast("schedules", "resume", made)[1].startswith(f"{made} is active. Next run: 20")
    _, shown, _ = outlast("schedules", "show", made)
    assert "next runs" in shown
    assert f"{execution['id']} (manual)" in shown

    code, _, err = outlast("schedules", "create", "demo", "--cron", "0 0 9 * * *")
    assert (code, "five fields" in err) == (2, True)
    other = client.post("/v1/schedules", json={"agentId": "demo", "cron": "@daily"}).json()["id"]
    assert outlast("schedules", "remove", other)[1] == f"{other} is deleted.\n"
    code, _, err = outlast("schedules", "show", other)
    assert (code, "See: outlast schedules list" in err) == (1, True)
    before = orjson.loads(outlast("schedules", "show", made, "--json")[1])
    server.stop(signal.SIGTERM)

    code, out, err = outlast("schedules", "show", made, "--json")
    assert (code, "Reading the database" in err) == (0, True)
    assert orjson.loads(out) == before
    assert outlast("schedules", "list")[1].startswith(made)
