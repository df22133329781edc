"""What the command line says of itself, of mistakes in it, and of one execution."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest
import typer

from outlast.cli.commands import app
from outlast.cli.described import described
from outlast.cli.named import only_named
from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE

Outlast = Callable[..., tuple[int, str, str]]
GROUPS = ("", "executions", "agents", "keys", "memory", "workspaces", "models")
EXECUTION: dict[str, Any] = {
    "id": "exec_1",
    "status": "suspended",
    "agentName": "shop",
    "input": "Refund it",
    "output": "One moment.\nThen more.",
    "error": None,
    "toolCalls": [{"name": "look", "parameters": {"id": 1}, "result": "found", "isError": False}],
    "pendingApprovals": [],
    "usage": {"totalTokens": 1},
    "creditsUsed": 2,
    "timing": {"totalMs": 1500},
    "createdAt": "2026-01-01T00:00:00.000Z",
}


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("serve --port abc", '--port must be a whole number, not "abc". See: outlast serve --help'),
        (
            "serve --drain-seconds x",
            '--drain-seconds must be a number, not "x". See: outlast serve',
        ),
        ("serve --no-such 1", "--no-such is not known here"),
        ("serve --port", "--port needs a value. See: outlast serve --help"),
        ("serve extra", 'one argument too many: "extra". See: outlast serve --help'),
        ("run demo", "INPUT is missing. See: outlast run --help"),
        ("executions show", "ID is missing. See: outlast executions show --help"),
        ("executions list --limit 101", "--limit must be at most 100, not 101. See: outlast exec"),
        ("executions list --limit 1.5", '--limit must be a whole number, not "1.5". See: outlast'),
        ("executions lst", 'there is no command "lst"; did you mean list? See: outlast executions'),
        ("frobnicate", 'there is no command "frobnicate". See: outlast --help'),
        ("doctor --json=3", "--json takes no value. See: outlast doctor --help"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_sentence_that_names_the_help(
    outlast: Outlast, arguments: str, said: str
) -> None:
    code, out, err = outlast(*arguments.split())

    assert (code, out) == (2, "")
    assert err.startswith(f"outlast: {said}"), err
    assert err.count("\n") == 1


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize("group", GROUPS)
def test_the_summaries_of_commands_fit_a_terminal(
    outlast: Outlast, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = outlast(*group.split(), "--help")

    assert code == 0
    assert "Commands:" in out
    assert "..." not in out.partition("Commands:")[2]
    assert max(len(line) for line in out.splitlines()) <= 80


@pytest.mark.parametrize(
    ("arguments", "prepared"),
    [
        ("serve --port 0", {"serve": None}),
        ("prices gpt", {"prices": None}),
        ("keys create --name ci", {"keys": {"create"}}),
        ("keys lst", {"keys": {"create", "list", "revoke"}}),
    ],
)
def test_only_the_command_of_the_command_line_is_prepared(
    arguments: str, prepared: dict[str, set[str] | None]
) -> None:
    root: Any = typer.main.get_command(only_named(app, arguments.split()))

    found = {name: getattr(one, "commands", None) for name, one in root.commands.items()}
    assert {name: commands and set(commands) for name, commands in found.items()} == prepared


@pytest.mark.parametrize("arguments", ["", "--help", "srve"])
def test_all_commands_are_prepared_where_the_command_line_names_none(arguments: str) -> None:
    assert only_named(app, arguments.split()) is app


def test_a_group_without_a_command_shows_its_help(outlast: Outlast) -> None:
    code, _, err = outlast("executions")

    assert code == 2
    assert "Usage: outlast executions" in err


def test_an_execution_is_described_with_what_goes_on() -> None:
    lines = list(described(EXECUTION))

    assert lines[:3] == ["id            exec_1", "status        suspended", "agent         shop"]
    assert "took          1.5 s" in lines
    assert "usage         1 token, 2 credits" in lines
    assert 'tool calls    look {"id":1} → found' in lines
    assert lines[lines.index("output        One moment.") + 1] == "              Then more."


@pytest.mark.parametrize(
    ("kind", "commands"),
    [
        ("approval", ["outlast approve exec_1 tc_1", "outlast deny exec_1 tc_1 --reason TEXT"]),
        (
            "unknown_outcome",
            [
                "it ran: outlast approve exec_1 tc_1 --result JSON",
                "run it again: outlast approve exec_1 tc_1",
                "give it up: outlast deny exec_1 tc_1",
            ],
        ),
    ],
)
def test_what_waits_is_shown_with_the_commands_that_decide_it(
    kind: str, commands: list[str]
) -> None:
    call = {"toolCallId": "tc_1", "name": "pay", "parameters": {"sum": 1}, "kind": kind}
    lines = list(described({**EXECUTION, "pendingApprovals": [call]}))

    assert [line.strip() for line in lines[-len(commands) :]] == commands


def test_what_failed_is_shown_with_how_to_go_on(
    command_line: CommandLine, outlast: Outlast
) -> None:
    client = command_line.serve().client(command_line.key)
    failed = client.post("/v1/agents/demo/execute", json={"input": "fail"}).json()["id"]
    waits = client.post("/v1/agents/careful/execute", json={"input": "pay"}).json()["id"]

    code, out, _ = outlast("executions", "show", failed)
    assert code == 0
    assert "model_rejected: scripted: not today" in out
    assert f"outlast executions resume {failed}" in out
    assert "input         fail" in out
    assert "output        This much" in out
    assert f"outlast approve {waits} tc_" in outlast("executions", "show", waits)[1]
    shown = orjson.loads(outlast("executions", "show", waits, "--json")[1])
    assert shown == client.get(f"/v1/executions/{waits}").json()


def test_a_watch_says_where_an_execution_was_rolled_back_and_goes_on(
    command_line: CommandLine, outlast: Outlast
) -> None:
    client = command_line.serve().client(command_line.key)
    body = {"input": "hold on", "background": True}
    held = client.post("/v1/agents/demo/execute", json=body).json()["id"]
    with client.stream("GET", f"/v1/executions/{held}/stream") as stream:
        for line in stream.iter_lines():
            if "for ever" in line or "tool_call_end" in line:
                break
    assert outlast("executions", "pause", held, "--now")[0] == 0
    client.get("/v1/executions", params={"status": "paused"})
    with client.stream("GET", f"/v1/executions/{held}/stream") as stream:
        for line in stream.iter_lines():
            if '"paused"' in line:
                break
    points = orjson.loads(outlast("executions", "checkpoints", held, "--json")[1])["data"]
    first = min(points, key=lambda point: point["step"])["id"]
    assert outlast("executions", "resume", held, "--checkpoint", first)[0] == 0
    again = 0
    with client.stream("GET", f"/v1/executions/{held}/stream") as stream:
        for line in stream.iter_lines():
            again += "tool_call_end" in line
            if again == 2:
                break
    assert outlast("executions", "cancel", held)[0] == 0

    code, out, err = outlast("executions", "watch", held)

    assert code == 130
    assert out.count("Started.") == 1
    lines = err.splitlines()
    back = next(n for n, line in enumerate(lines) if line.startswith("↶ rolled back to step 1"))
    assert "← calculator 2" in lines[:back]
    assert "← calculator 2" in lines[back:]


def test_a_watch_over_a_mere_resume_voids_nothing(
    command_line: CommandLine, outlast: Outlast
) -> None:
    client = command_line.serve().client(command_line.key)
    waits = client.post("/v1/agents/careful/execute", json={"input": "pay"}).json()["id"]
    assert outlast("approve", waits)[0] == 0
    assert client.get(f"/v1/executions/{waits}/stream").status_code == 200

    code, out, err = outlast("executions", "watch", waits)

    assert (code, out) == (0, "Paid.\n")
    assert "rolled back" not in err


@pytest.mark.only(SQLITE)
def test_an_error_names_the_command_that_helps(command_line: CommandLine, outlast: Outlast) -> None:
    client = command_line.serve().client(command_line.key)
    ended = client.post("/v1/agents/demo/execute", json={"input": "the sum"}).json()["id"]
    checkpoint = f"cp_{ended.removeprefix('exec_')}"
    for arguments, code, said in (
        (("run", "nix", "hello"), 1, "There is no agent 'nix'. See: outlast agents list"),
        (("agents", "remove", "nix"), 1, "There is no agent 'nix'. See: outlast agents list"),
        (("executions", "show", "exec_1"), 1, "no such execution. See: outlast executions list"),
        (("executions", "list", "--api-key", "bad"), 1, "create a key: outlast keys create"),
        (("executions", "list", "--after", "nix"), 2, "after: must be an id of the form exec_…"),
        (("budgets", "remove", "nix"), 1, "See: outlast budgets list"),
        (("keys", "revoke", ended.replace("exec", "key")), 1, "See: outlast keys list"),
        (("workspaces", "create", "new"), 0, ""),
        (("agents", "list", "--workspace", "new"), 0, "outlast init writes a file of them"),
        (("approve", ended), 1, f"{ended} waits for no approval. See: outlast approvals"),
        (
            ("executions", "resume", ended, "--checkpoint", checkpoint),
            1,
            "no such checkpoint. See: outlast executions checkpoints ID",
        ),
    ):
        found, _, err = outlast(*arguments)
        assert (found, said in err) == (code, True), err


@pytest.mark.only(SQLITE)
def test_an_unknown_status_is_wrong_usage_with_and_without_a_server(
    command_line: CommandLine, outlast: Outlast
) -> None:
    message = (
        "outlast: --status must be queued, running, suspended, paused, completed, failed, "
        'cancelled, not "odd".\n'
    )
    assert outlast("executions", "list", "--status", "odd") == (2, "", message)
    command_line.serve()
    assert outlast("executions", "list", "--status", "odd") == (2, "", message)
