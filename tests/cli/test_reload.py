"""SIGHUP: the agents file is read again, and nothing that runs is disturbed."""

import re
import signal
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from outlast import settings
from outlast.cli import reloads
from outlast.cli.composition import compose
from outlast.model.error import Overloaded
from outlast.model.workspace import Workspace
from tests.support.command_line import AGENTS, CommandLine, ServeCommand
from tests.support.databases import POSTGRESQL, SQLITE

PYTHON = """
import sibling
from outlast import Agent, tool


@tool(effect="read_only")
def look() -> str:
    '''Look.'''
    return sibling.ANSWER


agents = [Agent("looker", model="scripted:look.yaml", tools=[look])]
"""
LOOKS = """
turns:
  - steps:
      - tool_calls: [{name: look, parameters: {}}]
      - text: "{result}"
"""


def reloaded(server: ServeCommand, event: str = "agents.reloaded") -> dict[str, Any]:
    """Send SIGHUP and wait for the line that says what came of it."""
    server.process.signal(signal.SIGHUP)
    line = server.process.err.until(rf'(?s).*(\{{[^\n]*"{re.escape(event)}"[^\n]*\}})\n')
    found: dict[str, Any] = orjson.loads(line[1])
    return found


def names(client: httpx2.Client) -> set[str]:
    return {agent["name"] for agent in client.get("/v1/agents").json()["data"]}


def run(client: httpx2.Client, agent: str, text: str = "hi") -> dict[str, Any]:
    answer = client.post(f"/v1/agents/{agent}/execute", json={"input": text})
    found: dict[str, Any] = answer.json()
    return found


def test_sighup_puts_a_changed_agents_file_into_use(command_line: CommandLine) -> None:
    server = command_line.serve()
    client = server.client(command_line.key)
    body = {"input": "hold on", "background": True}
    held = client.post("/v1/agents/demo/execute", json=body).json()["id"]

    file = command_line.folder / "agents.yaml"
    file.write_text(AGENTS.replace("name: careful", "name: thorough"))
    shown = reloaded(server)
    assert (shown["agents"], shown["level"]) == (["demo", "thorough"], "info")
    assert names(client) == {"demo", "thorough"}
    assert run(client, "thorough")["output"] == "You said: hi"
    assert run(client, "careful")["error"]["code"] == "agent_not_found"

    assert client.get(f"/v1/executions/{held}").json()["status"] == "running"
    client.post(f"/v1/executions/{held}/cancel")
    code, _, _ = server.stop(signal.SIGTERM)
    assert code == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [("agents: [{name: demo}]", "model is missing"), ("agents: [", ""), (None, "no such file")],
)
@pytest.mark.only(SQLITE)
def test_a_file_that_cannot_be_read_changes_nothing(
    command_line: CommandLine, content: str | None, reason: str
) -> None:
    server = command_line.serve()
    client = server.client(command_line.key)
    file = command_line.folder / "agents.yaml"
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    shown = reloaded(server, "agents.not_reloaded")
    assert shown["level"] == "error"
    assert reason in shown["reason"]
    assert names(client) == {"demo", "careful"}
    assert run(client, "demo", "the sum")["output"] == "It is 4."

    file.write_text(AGENTS)
    assert reloaded(server)["agents"] == ["demo", "careful"]


PROVIDERS = """
providers: {{house: {{baseUrl: "http://127.0.0.1:9/v1", apiKey: "{key}"}}}}
agents:
  - {{name: demo, model: "{demo}"}}
  - {{name: fresh, model: "{fresh}"}}
"""


@pytest.mark.only(SQLITE)
@pytest.mark.parametrize(
    ("demo", "reason"),
    [
        ("house:m", 'agent "demo": The provider house needs HOUSE_KEY in the environment'),
        ("scripted:gone.yaml", "gone.yaml cannot be read: No such file"),
        ("antropic:claude", "Did you mean anthropic:claude?"),
    ],
)
def test_a_file_with_which_a_working_agent_could_not_run_changes_nothing(
    command_line: CommandLine, demo: str, reason: str
) -> None:
    server = command_line.serve()
    client = server.client(command_line.key)
    file = command_line.folder / "agents.yaml"
    file.write_text(PROVIDERS.format(key="${HOUSE_KEY}", demo=demo, fresh="scripted:script.yaml"))
    logged = reloaded(server, "agents.not_reloaded")
    assert reason in logged["reason"]
    assert "The agents in use stay" in logged["reason"]
    assert names(client) == {"demo", "careful"}
    assert run(client, "demo", "the sum")["output"] == "It is 4."


@pytest.mark.only(SQLITE)
def test_a_new_agent_that_could_not_run_is_warned_of_and_with_strict_changes_nothing(
    command_line: CommandLine,
) -> None:
    script = "scripted:script.yaml"
    file = command_line.folder / "agents.yaml"
    before = file.read_text()
    for arguments, event, expected in (
        ((), "agents.reloaded", {"demo", "fresh"}),
        (("--strict",), "agents.not_reloaded", {"demo", "careful"}),
    ):
        file.write_text(before)
        server = command_line.serve(*arguments)
        client = server.client(command_line.key)
        file.write_text(PROVIDERS.format(key="${HOUSE_KEY}", demo=script, fresh="house:m"))
        reloaded(server, event)
        assert names(client) == expected
        assert run(client, "demo")["output"] == "You said: hi"
        _, _, err = server.stop(signal.SIGTERM)
        assert "The provider house needs HOUSE_KEY" in err
        assert ("agent.not_ready" in err) == (not arguments)


@pytest.mark.only(SQLITE)
def test_functions_their_modules_and_scripts_are_read_again(command_line: CommandLine) -> None:
    (command_line.folder / "shop.py").write_text(PYTHON)
    (command_line.folder / "sibling.py").write_text("ANSWER = 'old'")
    (command_line.folder / "look.yaml").write_text(LOOKS)
    command_line.environment["OUTLAST_AGENTS"] = "shop.py"
    server = command_line.serve()
    client = server.client(command_line.key)
    assert run(client, "looker")["output"] == "old"

    (command_line.folder / "sibling.py").write_text("ANSWER = 'brand new'")
    (command_line.folder / "look.yaml").write_text(LOOKS.replace("{result}", "Now: {result}"))
    reloaded(server)
    assert run(client, "looker")["output"] == "Now: brand new"

    (command_line.folder / "sibling.py").write_text("ANSWER = 'a third'")
    (command_line.folder / "shop.py").write_text(PYTHON + "\nraise LookupError('half written')\n")
    shown = reloaded(server, "agents.not_reloaded")
    assert "LookupError: half written" in shown["reason"]
    assert run(client, "looker")["output"] == "Now: brand new"


@pytest.mark.only(SQLITE)
def test_without_an_agents_file_sighup_says_so_and_ends_nothing(command_line: CommandLine) -> None:
    command_line.environment["OUTLAST_AGENTS"] = ""
    server = command_line.serve()
    shown = reloaded(server, "agents.not_reloaded")
    assert shown["level"] == "warning"
    assert httpx2.get(f"{server.url}/readyz").status_code == 200


@pytest.mark.only(POSTGRESQL)
def test_a_worker_takes_sighup_too(command_line: CommandLine) -> None:
    server = command_line.serve("--no-worker")
    worker = command_line.work()
    client = server.client(command_line.key)
    (command_line.folder / "agents.yaml").write_text(AGENTS.replace("careful", "thorough"))
    for process in (worker, server.process):
        process.signal(signal.SIGHUP)
        process.err.until("agents.reloaded")
    assert run(client, "thorough")["output"] == "You said: hi"


@pytest.mark.anyio
@pytest.mark.only(SQLITE)
async def test_a_database_that_takes_no_agents_keeps_the_providers_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "agents.yaml"
    text = PROVIDERS.format(key="k", demo="house:m", fresh="house:n")
    file.write_text(text)
    given = settings.load({"agents": str(file), "data_dir": tmp_path / "data"})
    agents = reloads.AgentsFile(given)
    composed = compose(given, agents.loaded)
    file.write_text(text.replace("house", "other"))

    async def away(*_: object) -> None:
        raise Overloaded("The database is away.")

    monkeypatch.setattr(reloads, "put_agents", away)
    await agents.reload(composed, Workspace("ws", "default", 0), worker=True)
    assert composed.models.kind("house:m") == "openai-chat"
    assert composed.models.kind("other:m") == "other"
    assert [spec.model for spec in agents.loaded.specs] == ["house:m", "house:n"]
    await composed.models.close()
