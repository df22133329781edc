"""What a shell completes."""

import socket

import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE

pytestmark = pytest.mark.only(SQLITE)


def completed(command_line: CommandLine, line: str) -> list[str]:
    """What bash would offer for the last word of a line."""
    words = line.split(" ")
    environment = {
        "_OUTLAST_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    code, out, err = command_line.run(**environment)
    assert (code, err) == (0, "")
    return out.split()


def test_agents_are_those_of_the_file_and_of_the_server_once_one_runs(
    command_line: CommandLine,
) -> None:
    assert completed(command_line, "outlast run ") == ["demo", "careful"]
    command_line.serve()
    (command_line.folder / "agents.yaml").write_text("agents: []")
    assert sorted(completed(command_line, "outlast run ")) == ["careful", "demo"]
    assert completed(command_line, "outlast schedules create ca") == ["careful"]


def test_agents_are_those_of_the_file_where_the_server_does_not_answer(
    command_line: CommandLine,
) -> None:
    command_line.run("keys", "list")  # makes the first key
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command_line.environment["OUTLAST_PORT"] = str(silent.getsockname()[1])
        assert completed(command_line, "outlast run ") == ["demo", "careful"]


def test_executions_are_those_of_the_server(command_line: CommandLine) -> None:
    server = command_line.serve()
    client = server.client(command_line.key)
    run = client.post("/v1/agents/demo/execute", json={"input": "hi"}).json()["id"]
    for line in ("executions show exec_", "executions resume exec_", "approve exec_"):
        assert completed(command_line, f"outlast {line}") == [run]
    assert completed(command_line, "outlast executions show exec_zz") == []


def test_without_anything_to_read_nothing_is_offered(command_line: CommandLine) -> None:
    (command_line.folder / "agents.yaml").write_text("agents: [")
    assert completed(command_line, "outlast run ") == []
    assert completed(command_line, "outlast executions show ") == []
