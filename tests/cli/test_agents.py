"""Agents come and go with the operator's file; what they have begun stays."""

from collections.abc import Callable
from signal import SIGTERM

import pytest

from tests.support.command_line import CommandLine

Outlast = Callable[..., tuple[int, str, str]]


def rename(command_line: CommandLine, old: str, new: str) -> None:
    file = command_line.folder / "agents.yaml"
    file.write_text(file.read_text().replace(f"name: {old}\n", f"name: {new}\n"))


def test_a_renamed_agent_replaces_the_old_one_which_keeps_what_it_has_begun(
    command_line: CommandLine, outlast: Outlast
) -> None:
    server = command_line.serve()
    client = server.client(command_line.key)
    held = client.post("/v1/agents/careful/execute", json={"input": "pay"}).json()
    assert held["status"] == "suspended"
    server.stop(SIGTERM)
    rename(command_line, "careful", "prudent")
    server = command_line.serve()
    client = server.client(command_line.key)
    listed = [agent["name"] for agent in client.get("/v1/agents").json()["data"]]
    assert sorted(listed) == ["demo", "prudent"]

    refused = client.post("/v1/agents/careful/execute", json={"input": "x"})
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "agent_not_found"
    assert "outlast agents restore careful" in refused.json()["error"]["message"]

    (call,) = held["pendingApprovals"]
    path = f"/v1/executions/{held['id']}"
    client.post(f"{path}/approvals/{call['toolCallId']}", json={"approved": True})
    with client.stream("GET", f"{path}/stream") as stream:
        stream.read()
    assert client.get(path).json()["status"] == "completed"
    found = client.get("/v1/executions", params={"agentId": "careful"}).json()["data"]
    assert [one["id"] for one in found] == [held["id"]]

    assert "careful" not in outlast("agents", "list")[1]
    assert "careful" in outlast("agents", "list", "--all")[1]
    assert outlast("agents", "restore", "careful")[0] == 0
    assert "careful" in outlast("agents", "list")[1]
    code, out, _ = outlast("agents", "remove", "demo")
    assert (code, "outlast agents restore demo" in out) == (0, True)
    assert "demo" not in outlast("agents", "list")[1]
    code, _, err = outlast("agents", "remove", "unknown")
    assert (code, "There is no agent" in err) == (1, True)


def test_renaming_the_only_agent_leaves_the_runs_room_with_one(command_line: CommandLine) -> None:
    file = command_line.folder / "agents.yaml"
    only = "agents: [{name: first, model: 'scripted:script.yaml'}]"
    file.write_text(only)
    command_line.serve().stop(SIGTERM)
    file.write_text(only.replace("first", "second"))
    server = command_line.serve()
    client = server.client(command_line.key)
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    answer = client.post("/run/api/executions", json=body)
    assert answer.status_code == 200, answer.text
    file.write_text(
        "agents: [{name: a, model: 'scripted:script.yaml'}, "
        "{name: b, model: 'scripted:script.yaml'}]"
    )
    server.stop(SIGTERM)
    client = command_line.serve().client(command_line.key)
    answer = client.post("/run/api/executions", json=body)
    assert answer.status_code == 400
    assert "outlast keys create --agent NAME" in answer.json()["error"]


@pytest.mark.parametrize("agents", [(), ("--agents", "other.yaml")])
def test_a_run_in_the_terminal_retires_nothing(
    command_line: CommandLine, outlast: Outlast, agents: tuple[str, ...]
) -> None:
    command_line.serve().stop(SIGTERM)
    (command_line.folder / "other.yaml").write_text(
        "agents: [{name: demo, model: 'scripted:script.yaml'}]"
    )
    outlast("run", "demo", "the sum", *agents)
    listed = outlast("agents", "list")[1]
    assert "demo" in listed
    assert "careful" in listed


def test_a_misspelt_agent_is_answered_with_the_name_that_was_meant(
    command_line: CommandLine, outlast: Outlast
) -> None:
    client = command_line.serve().client(command_line.key)
    refused = client.post("/v1/agents/carefull/execute", json={"input": "x"}).json()
    assert refused["error"]["message"] == "There is no agent 'carefull'; did you mean careful?"
    assert client.get("/v1/agents/zzzz").json()["error"]["message"] == "There is no agent 'zzzz'."
    command_line.environment["OUTLAST_PORT"] = "1"
    code, _, err = outlast("approvals")
    assert (code, "outlast serve" in err) == (1, True)


def test_no_answer_shows_the_operators_folders(command_line: CommandLine) -> None:
    file = command_line.folder / "agents.yaml"
    file.write_text(f"{file.read_text()}  - {{name: gone, model: scripted:gone.yaml}}\n")
    server = command_line.serve()
    client = server.client(command_line.key)
    failed = client.post("/v1/agents/demo/execute", json={"input": "fail"}).json()
    assert failed["error"]["code"] == "model_rejected"
    gone = client.post("/v1/agents/gone/execute", json={"input": "x"}).json()
    assert gone["error"]["message"].startswith("The script gone.yaml cannot be read")

    paths = ["/v1/agents", "/v1/agents/demo", "/v1/events", "/v1/executions", "/api/v1/executions"]
    for run in (failed["id"], gone["id"]):
        runs = f"/run/api/executions/{run}"
        paths += [f"/v1/executions/{run}", f"/v1/executions/{run}/stream", runs, f"{runs}/stream"]
        paths.append(f"/api/v1/executions/nestings?executionId={run}")
    answers = {path: client.get(path).text for path in paths}
    assert [path for path, text in answers.items() if str(command_line.folder) in text] == []
    (event,) = [one for one in client.get("/v1/events").json()["data"] if one["id"] == failed["id"]]
    assert event["finalModel"] == "scripted:script.yaml"
