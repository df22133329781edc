"""Approvals, pauses, roll-backs and deletions by the command line, as processes."""

from collections.abc import Callable
from typing import Final

import orjson
import pytest

from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE

Outlast = Callable[..., tuple[int, str, str]]


def test_what_waits_is_listed_decided_rolled_back_and_deleted(
    command_line: CommandLine, outlast: Outlast
) -> None:
    client = command_line.serve().client(command_line.key)
    body = {"input": "pay him"}
    first, second = (
        client.post("/v1/agents/careful/execute", json=body).json()["id"] for _ in range(2)
    )
    _, out, _ = outlast("approvals")
    assert [line.split("\t")[0] for line in out.splitlines()] == [second, first]

    code, out, _ = outlast("approve", first, "--reason", "fine", "--parameters", "{}")
    assert (code, out.startswith("pay (tc_"), out.endswith(" is approved.\n")) == (0, True, True)
    assert outlast("executions", "watch", first)[1] == "Paid.\n"
    assert outlast("approve", first)[0] == 1, "nothing waits any more"
    call = client.get(f"/v1/executions/{first}").json()["toolCalls"][0]["id"]
    code, _, err = outlast("deny", first, call)
    assert code == 1
    assert "the first decision stands" in err

    assert outlast("executions", "pause", second)[1] == f"{second} is paused.\n"
    assert outlast("executions", "resume", second)[1] == f"{second} is suspended.\n"
    _, out, _ = outlast("deny", second, "--reason", "no money", "--json")
    assert orjson.loads(out)["reason"] == "no money"
    assert outlast("approve", second, "--parameters", "{")[0] == 2

    outlast("executions", "watch", second)
    _, out, _ = outlast("executions", "checkpoints", second)
    checkpoint, step, *_ = out.splitlines()[0].split("\t")
    assert step == "1"
    _, out, _ = outlast("executions", "resume", second, "--checkpoint", checkpoint)
    assert out == f"{second} is suspended.\n"
    assert "superseded" in outlast("executions", "checkpoints", second)[1]

    assert outlast("executions", "delete", second)[1] == f"{second} is deleted.\n"
    assert client.get(f"/v1/executions/{second}").status_code == 404
    assert orjson.loads(outlast("approvals", "--json")[1])["data"] == []


TEAM: Final = """
agents:
  - {name: lead, model: "scripted:lead.yaml", tools: [{agent: careful}]}
  - name: careful
    model: scripted:script.yaml
    tools: [{name: pay, description: Pay, python: "os:getcwd", approval: true}]
"""
LEAD: Final = """
turns:
  - steps:
      - tool_calls: [{name: careful, parameters: {input: pay him}}]
      - text: Done.
"""


@pytest.mark.only(SQLITE)
def test_what_a_called_agent_waits_for_is_shown_and_decided_at_its_root(
    command_line: CommandLine, outlast: Outlast
) -> None:
    (command_line.folder / "agents.yaml").write_text(TEAM)
    (command_line.folder / "lead.yaml").write_text(LEAD)
    client = command_line.serve().client(command_line.key)
    root = client.post("/v1/agents/lead/execute", json={"input": "Go"}).json()
    (waiting,) = root["pendingApprovals"]
    _, out, _ = outlast("approvals")
    assert out.split("\t")[:3] == [waiting["executionId"], waiting["toolCallId"], "pay"]
    assert waiting["executionId"] != root["id"]
    shown = outlast("executions", "show", root["id"])[1]
    assert f"outlast approve {root['id']} {waiting['toolCallId']}" in shown
    code, out, _ = outlast("approve", root["id"])
    assert (code, out) == (0, f"pay ({waiting['toolCallId']}) is approved.\n")
    assert outlast("executions", "watch", root["id"])[1] == "Done.\n"


def test_usage_is_shown_and_budgets_and_views_are_set_and_removed(
    command_line: CommandLine, outlast: Outlast
) -> None:
    client = command_line.serve().client(command_line.key)
    for agent, text in (("demo", "the sum"), ("demo", "the sum"), ("careful", "hello")):
        assert client.post(f"/v1/agents/{agent}/execute", json={"input": text}).status_code == 200
    _, out, _ = outlast("usage", "--bucket", "month", "--by", "agent")
    rows = [line.split("\t") for line in out.splitlines()]
    assert sorted(row[1] for row in rows) == ["careful", "demo"]
    whole = orjson.loads(outlast("usage", "--bucket", "month", "--json")[1])["data"]
    assert sum(int(row[2]) for row in rows) == sum(row["modelRequests"] for row in whole)
    assert all(float(row[5]) > 0 for row in rows)
    code, out, err = outlast("usage", "--by", "conversation", "--limit", "2")
    assert (code, len(out.splitlines())) == (0, 2)
    cursor = err.rpartition("--after ")[2].strip()
    _, out, err = outlast("usage", "--by", "conversation", "--limit", "2", "--after", cursor)
    assert (len(out.splitlines()), err) == (1, "")
    code, out, err = outlast("usage", "--bucket", "week")
    assert (code, out) == (2, "")
    assert err == 'outlast: --bucket must be hour, day, month, not "week".\n'

    code, out, _ = outlast("budgets", "set", "workspace", "--max-steps", "9", "--max-credits", "2")
    assert code == 0
    assert [line.split("\t")[1] for line in out.splitlines()] == ["2 credits", "9 steps"]
    shown = orjson.loads(outlast("budgets", "list", "--kind", "workspace", "--json")[1])["data"]
    assert [one["max"]["steps"] for one in shown] == [9]
    assert outlast("budgets", "list")[1] == out, "by default as lines"
    assert outlast("budgets", "set", "workspace")[0] == 2, "a budget needs a bound"
    code, _, refusal = outlast("budgets", "set", "workspace", "--max-credits", "inf")
    assert (code, "--max-credits must be" in refusal) == (2, True), "no number of credits"
    assert outlast("budgets", "set", "shop", "--max-steps", "9")[0] == 1
    assert outlast("budgets", "list", "--kind", "week")[0] == 2
    assert outlast("budgets", "remove", "workspace")[:2] == (
        0,
        "Removed the budget of workspace.\n",
    )
    assert outlast("budgets", "list")[1] == ""

    q = "status:failed since:24h"
    assert outlast("views", "save", "my failures", q)[:2] == (0, "Saved the view my failures.\n")
    assert outlast("views", "list")[1] == f"my failures\t{q}\n"
    assert orjson.loads(outlast("views", "list", "--json")[1])["data"][0]["filter"] == q
    assert outlast("views", "save", "x" * 65, q)[0] == 2, "a name has at most 64 characters"
    code, _, err = outlast("views", "save", "odd", "status:odd")
    assert (code, "The filter cannot be read: status: one to three of" in err) == (2, True)
    assert outlast("views", "remove", "my failures")[0] == 0
    assert outlast("views", "list")[1] == ""


def test_a_call_that_a_client_runs_is_shown_and_answered_by_hand(
    command_line: CommandLine, outlast: Outlast
) -> None:
    client = command_line.serve().client(command_line.key)
    body = {"input": "pay him", "clientTools": [{"name": "pay"}]}
    run = client.post("/v1/agents/demo/execute", json=body).json()["id"]
    _, out, _ = outlast("executions", "show", run)
    assert "pay {}: its client runs it" in out
    assert f"outlast executions answer {run} tc_" in out
    for wrong in ((), ("--result", "{"), ("--result", "1", "--error", "x")):
        assert outlast("executions", "answer", run, *wrong)[0] == 2
    code, out, _ = outlast("executions", "answer", run, "--result", '{"paid": 3}')
    assert (code, out.startswith("pay (tc_"), out.endswith(" has a result.\n")) == (0, True, True)
    assert outlast("executions", "watch", run)[1] == "Paid.\n"
    (call,) = client.get(f"/v1/executions/{run}").json()["toolCalls"]
    assert call["result"] == {"paid": 3}
    code, _, err = outlast("executions", "answer", run, call["id"], "--error", "broken")
    assert (code, "another result already" in err) == (1, True)
    code, _, err = outlast("executions", "answer", run, "--result", "1")
    assert (code, "waits for no client" in err) == (1, True)
