"""`outlast tools`: what a model is offered, and a real call without an execution."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from outlast.services.findings import Level
from tests.support.command_line import CommandLine
from tests.support.databases import SQLITE
from tests.support.doctor import findings
from tests.support.http_tools import HttpToolServer, answer
from tests.support.images import png
from tests.support.mcp_servers import ODD

Outlast = Callable[..., tuple[int, str, str]]
pytestmark = [pytest.mark.only(SQLITE), pytest.mark.anyio]

FILE = """
agents:
  - name: shop
    model: "scripted:none.yaml"
    tools:
      - {builtin: calculator}
      - name: look
        description: Look up an order
        parameters:
          type: object
          properties: {id: {type: string}, deep: {type: boolean}}
          required: [id]
        effect: read_only
        http:
          url: http://127.0.0.1:PORT/orders/{id}
          method: GET
          headers: {x-key: "${SHOP_KEY}"}
      - {agent: other, approval: true}
      - {builtin: datetime, approval: true}
  - {name: other, model: "scripted:none.yaml"}
"""


def write(folder: Path, port: int = 1) -> tuple[str, ...]:
    (folder / "shop.yaml").write_text(FILE.replace("PORT", str(port)))
    return ("--agents", "shop.yaml")


def test_tools_are_listed_as_the_model_sees_them(
    outlast: Outlast, command_line: CommandLine
) -> None:
    file = write(command_line.folder)
    code, out, _ = outlast("tools", "list", "shop", *file)
    assert code == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[1] == ["look", "http", "read_only", "never", "id deep?", "Look up an order"]
    assert rows[2][:4] == ["other", "agent", "idempotent", "always"]
    code, out, _ = outlast("tools", "list", "shop", *file, "--json")
    found = orjson.loads(out)[1]
    assert found["parameters"]["required"] == ["id"]
    assert found["timeout"] == 30


def test_the_tools_of_an_agents_memory_are_listed_and_need_an_execution(
    outlast: Outlast, command_line: CommandLine
) -> None:
    (command_line.folder / "shop.yaml").write_text("""
memoryStores: [{name: laws, description: What holds}]
agents:
  - name: shop
    model: "scripted:none.yaml"
    memoryStores: [customers, {name: laws, access: read_only}]
  - {name: reader, model: "scripted:none.yaml", memoryStores: [{name: laws, access: read_only}]}
""")
    listed = {
        agent: orjson.loads(outlast("tools", "list", agent, "--agents", "shop.yaml", "--json")[1])
        for agent in ("shop", "reader")
    }
    verbs = {agent: [row["name"] for row in rows] for agent, rows in listed.items()}
    assert verbs["reader"] == ["memory_search", "memory_read"]
    assert verbs["shop"] == [*verbs["reader"], "memory_write", "memory_delete"]
    writable = str(listed["shop"][2]["parameters"]["properties"]["store"])
    assert "customers" in writable
    assert "laws" not in writable
    call = ("tools", "call", "shop", "memory_read", '{"key": "a"}', "--agents", "shop.yaml")
    code, _, err = outlast(*call)
    assert code == 2
    assert "memory_read needs an execution: outlast run shop INPUT" in err


def test_a_call_says_what_images_it_has_brought(
    outlast: Outlast, command_line: CommandLine
) -> None:
    (command_line.folder / "plot.py").write_text(f"""
from outlast import Agent, ToolContext, tool

@tool(effect="read_only")
def plot(context: ToolContext) -> str:
    "Plot it."
    return context.images.keep({png(1)!r}).placeholder

agents = [Agent("plotter", model="scripted:none.yaml", tools=[plot])]
""")
    code, out, err = outlast("tools", "call", "plotter", "plot", "--agents", "plot.py")
    assert code == 0, err
    name = orjson.loads(out).split()[1].rstrip(":")
    assert f"It brought {name}, image/png, {len(png(1))} bytes." in err


async def test_a_call_is_real_and_its_result_is_json(
    outlast: Outlast, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = HttpToolServer([answer(b'{"status": "shipped"}'), answer(b"no", "404 Not Found")])
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        file = write(command_line.folder, listening.sockets[0].getsockname()[1])
        call = ("tools", "call", "shop", "look", '{"id": "A-1"}', *file)
        code, _, err = await asyncio.to_thread(outlast, *call)
        assert (code, server.seen) == (2, [])
        assert "needs SHOP_KEY in the environment" in err
        monkeypatch.setenv("SHOP_KEY", "secret-of-the-shop")
        code, out, err = await asyncio.to_thread(outlast, *call)
        assert (code, orjson.loads(out)) == (0, {"status": "shipped"})
        assert "look answered in" in err
        assert server.seen[0].headers["x-key"] == "secret-of-the-shop"
        code, out, err = await asyncio.to_thread(outlast, *call)
        assert (code, out) == (1, "")
        assert "answered 404" in err
        assert "secret-of-the-shop" not in err


@pytest.mark.parametrize(
    ("arguments", "exit_code", "shown"),
    [
        (("shop", "calculator", '{"expression": "6 * 7"}'), 0, "42"),
        (("shop", "calculator", "{}"), 1, "expression"),
        (("shop", "calculator", "6 * 7"), 2, "The arguments are not JSON"),
        (("shop", "calculator", "[]"), 2, "The arguments are a JSON object"),
        (("shop", "none"), 2, "has no tool 'none'; its tools: calculator, look, other, datetime"),
        (
            ("clerk", "none"),
            1,
            "There is no agent 'clerk' in the agents file; it has: shop, other",
        ),
        (("shop", "other", '{"input": "x"}', "--yes"), 2, "needs an execution: outlast run shop"),
        (("shop", "datetime"), 2, "A person approves this call of datetime: add --yes"),
        (("shop", "datetime", "--yes"), 0, "weekday"),
    ],
)
def test_every_call_ends_in_a_result_or_a_reason(
    outlast: Outlast,
    command_line: CommandLine,
    arguments: tuple[str, ...],
    exit_code: int,
    shown: str,
) -> None:
    code, out, err = outlast("tools", "call", *arguments, *write(command_line.folder))
    assert shown in (out if code == 0 else err)
    assert code == exit_code


ODD_FILE = """
agents:
  - name: clerk
    model: "scripted:none.yaml"
    tools:
      - {builtin: calculator}
      - {name: odd, approval: true, mcp: {command: "PYTHON", args: [-B, "ODD", "FOLDER", plain]}}
"""


def odd_file(folder: Path) -> tuple[str, ...]:
    text = ODD_FILE.replace("PYTHON", sys.executable).replace("ODD", ODD)
    (folder / "clerk.yaml").write_text(text.replace("FOLDER", str(folder)))
    return ("--agents", "clerk.yaml")


def test_the_tools_of_an_mcp_server_are_listed_and_called(
    outlast: Outlast, command_line: CommandLine
) -> None:
    file = odd_file(command_line.folder)
    code, out, err = outlast("tools", "list", "clerk", *file)
    assert code == 0, err
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == ["calculator", "odd__act"]
    assert rows[1][1:4] == ["mcp", "destructive", "always"]
    code, out, _ = outlast("tools", "call", "clerk", "odd__act", "--yes", *file)
    assert (code, orjson.loads(out)) == (0, "acted")
    code, _, err = outlast("tools", "call", "clerk", "odd__none", *file)
    assert (code, "has no tool 'odd__none'; its tools: odd__act" in err) == (2, True)


async def test_doctor_says_whether_an_mcp_server_lists_its_tools(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(command_line.folder)
    odd_file(command_line.folder)
    found = await findings("", agents="clerk.yaml")
    finding = found["MCP server odd of clerk"]
    assert (finding.level, finding.text) == (Level.OK, "lists 1 tool")
    text = (command_line.folder / "clerk.yaml").read_text()
    (command_line.folder / "clerk.yaml").write_text(text.replace("plain", "crashes"))
    finding = (await findings("", agents="clerk.yaml"))["MCP server odd of clerk"]
    assert finding.level is Level.FAIL
    assert "exit code 1: there is no licence" in finding.text
    assert (finding.remedy or "").endswith("outlast tools list clerk")


def test_without_an_agents_file_the_error_names_the_flag(
    outlast: Outlast, command_line: CommandLine
) -> None:
    command_line.environment["OUTLAST_AGENTS"] = ""
    code, _, err = outlast("tools", "list", "shop")
    assert code != 0
    assert "--agents FILE" in err
