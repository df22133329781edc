"""MCP servers in an agents file: what is read, what is refused, what is stored of them."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from outlast import Agent, mcp_tools
from outlast.agents.check import operators_only
from outlast.agents.loader import load
from outlast.agents.readiness import tools_not_ready
from outlast.model.agent import ENVIRONMENT_PROXY, AgentSpec
from outlast.model.error import Misconfigured
from outlast.model.spec_json import spec_digest, spec_from_dict, spec_to_dict


def read(folder: Path, tool: str, rest: str = "") -> AgentSpec:
    (folder / "agents.yaml").write_text(f"agents: [{{name: a, model: m{rest}, tools: [{tool}]}}]")
    (spec,) = load(str(folder / "agents.yaml")).specs
    return spec


def test_a_server_is_stored_as_it_is_written_and_read_again(tmp_path: Path) -> None:
    written = """{name: shop, timeout: 9, approval: true, mcp: {
      url: "https://shop/mcp", headers: {Authorization: "Bearer ${KEY}"}, tools: [add],
      effects: {add: read_only}, approval: {add: never}, trust: true, maxResultBytes: 99,
      proxy: true, caFile: ca.pem}}"""
    spec = read(tmp_path, written)
    given = {
        "lists": True,
        "url": "https://shop/mcp",
        "headers": {"Authorization": "Bearer ${KEY}"},
        "tools": ["add"],
        "effects": {"add": "read_only"},
        "approval": {"add": "never"},
        "trust": True,
        "max_result_bytes": 99,
        "proxy": ENVIRONMENT_PROXY,
        "ca_file": str(tmp_path / "ca.pem"),
    }
    assert spec.tools[0].other == {"mcp": given}
    assert (spec.tools[0].timeout, spec.tools[0].approval) == (9, True)
    again = spec_from_dict(spec_to_dict(spec))
    assert spec_digest(again) == spec_digest(spec)
    assert again.sources
    assert not again.offered
    assert again.has("shop__add")
    assert not again.has("shop")
    made = mcp_tools(
        "shop",
        url="https://shop/mcp",
        headers={"Authorization": "Bearer ${KEY}"},
        tools=["add"],
        effects={"add": "read_only"},
        approval={"add": "never"},
        trust=True,
        max_result_bytes=99,
        proxy=True,
        ca_file=str(tmp_path / "ca.pem"),
    )
    assert Agent("a", model="m", tools=made).spec.tools[0].other == {"mcp": given}


def test_a_tool_choice_may_name_a_tool_that_is_listed_later(tmp_path: Path) -> None:
    tool = '{name: shop, mcp: {url: "http://shop/mcp"}}'
    assert read(tmp_path, tool, ", toolChoice: shop__add").tool_choice == "shop__add"
    with pytest.raises(Misconfigured, match="there is no tool 'other__add'"):
        read(tmp_path, tool, ", toolChoice: other__add")


@pytest.mark.parametrize(
    ("tool", "problem"),
    [
        ('{mcp: {url: "http://x/"}}', "an MCP server needs the key name"),
        ("{name: s, mcp: {}}", "exactly one of url and command"),
        ("{name: s, mcp: {command: y, proxy: true}}", "this is for a url"),
        ("{name: s, mcp: {command: y, caFile: ca.pem}}", "this is for a url"),
        ('{name: s, mcp: {url: "http://x/", proxy: "http://me:word@h:1"}}', "stored in clear"),
        ('{name: s, mcp: {url: "http://x/", command: y}}', "exactly one of url and command"),
        ('{name: a__b, mcp: {url: "http://x/"}}', "no __"),
        (f'{{name: {"n" * 33}, mcp: {{url: "http://x/"}}}}', "at most 32 characters"),
        ('{name: s, mcp: {url: "ftp://x/"}}', "begins with http:// or https://"),
        ('{name: s, mcp: {url: "http://{host}/"}}', "not the host"),
        ('{name: s, mcp: {url: "http://x/", args: [y]}}', "this is for a command"),
        ('{name: s, mcp: {url: "http://x/", headers: {Mcp-Session-Id: y}}}', "by the protocol"),
        ('{name: s, mcp: {url: "http://x/", headers: {A: "${"}}}', "a variable is written"),
        ("{name: s, mcp: {command: y, headers: {A: b}}}", "this is for a url"),
        ('{name: s, mcp: {command: y, env: {A: "${"}}}', "a variable is written"),
        ("{name: s, mcp: {command: y, tools: []}}", "must not be empty"),
        ("{name: s, mcp: {command: y, tools: [t], effects: {u: read_only}}}", "named under tools"),
        ("{name: s, mcp: {command: y, effects: {u: odd}}}", "read_only"),
        ("{name: s, mcp: {command: y}, parameters: {type: object}}", "its own parameters"),
    ],
)
def test_what_cannot_be_is_refused_when_the_file_is_read(
    tmp_path: Path, tool: str, problem: str
) -> None:
    with pytest.raises(Misconfigured, match=problem):
        read(tmp_path, tool)


def test_a_command_and_variables_are_for_the_operator_alone(tmp_path: Path) -> None:
    command = read(tmp_path, "{name: s, mcp: {command: y}}")
    assert [problem.path for problem in operators_only(command)] == [("tools", 0, "mcp", "command")]
    headers = read(tmp_path, '{name: s, mcp: {url: "http://x/", headers: {A: "${B}"}}}')
    assert [one.path for one in operators_only(headers)] == [("tools", 0, "mcp", "headers", "A")]
    plain = read(tmp_path, '{name: s, mcp: {url: "http://x/"}}')
    assert not list(operators_only(plain))


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = read(tmp_path, '{name: s, mcp: {command: no-such-command, env: {A: "${KEY}"}}}')
    (lack,) = tools_not_ready(spec, {"PATH": ""})
    assert "needs KEY in the environment" in str(lack)
    (lack,) = tools_not_ready(spec, {"PATH": "", "KEY": "x"})
    assert "needs the command no-such-command" in str(lack)
    monkeypatch.setattr("outlast.agents.tools.mcp_kind._is_installed", lambda: False)
    (lack,) = tools_not_ready(spec, {})
    assert "needs an extra: pip install '.[mcp]'" in str(lack)


@pytest.mark.parametrize(
    ("package", "tool", "extra"),
    [
        ("mcp", '{name: s, mcp: {url: "http://x/"}}', "mcp"),
        ("playwright", "{browser: {}}", "browser"),
    ],
)
def test_without_its_package_a_tool_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, tool: str, extra: str
) -> None:
    """As where the package is not installed: its import finds nothing."""
    spec = read(tmp_path, tool)
    found = importlib.util.find_spec

    def without(name: str, of: str | None = None) -> ModuleSpec | None:
        return None if name == package else found(name, of)

    monkeypatch.setattr("importlib.util.find_spec", without)
    monkeypatch.setattr("outlast.agents.tools.browser_kind.find_spec", without)
    lacks = list(tools_not_ready(spec, {}))
    assert lacks
    text = f"needs an extra: pip install '.[{extra}]' in a checkout of Outlast"
    assert all(text in str(lack) for lack in lacks)
