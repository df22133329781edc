# ruff: noqa: E501 - an exact message stands on one line
"""An agents file in JSON or edited Python, and all of a file's mistakes at once."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from outlast.agents.loader import load
from outlast.model.error import Misconfigured

YAML = """
agents:
  - name: support
    model: openai-chat:gpt-5-mini
    instructions: You help customers.
    tools:
      - name: lookup_order
        description: Look up an order
        parameters: {type: object, properties: {orderId: {type: string}}, required: [orderId]}
        http: {url: "https://shop.example/lookup", timeout: 10}
        effect: read_only
      - builtin: calculator
    limits: {maxSteps: 5, maxTokens: 1000, maxSeconds: null}
    settings: {temperature: 0.5, stop: ["no"]}
  - {name: second, model: "local:smollm2"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_json_file_gives_the_same_agents_as_yaml(folder: Path) -> None:
    (folder / "x.yaml").write_text(YAML)
    loaded = load("x.yaml")
    value = yaml.safe_load(YAML)
    for name, text in {
        "compact.json": json.dumps(value),
        "tabs.json": json.dumps(value, indent="\t"),
        "bom.json": "\ufeff" + json.dumps(value, indent=2),
    }.items():
        (folder / name).write_text(text, "utf-8")
        assert load(name).specs == loaded.specs


def test_json_text_is_read_as_json_and_its_mistakes_have_their_lines(folder: Path) -> None:
    value = {"agents": [{"name": "a", "model": "m", "instructions": "😀 \u2028 a\\/b"}]}
    (folder / "x.json").write_text(json.dumps(value))  # the emoji is two \\u escapes
    assert load("x.json").specs[0].instructions == value["agents"][0]["instructions"]
    for text, message in {
        '{"agents": [\n{"name": "a",}]}': "x.json:2: not JSON",
        '{"agents": [\n\t{"name": "a",\n\t"modle": "m", "model": "m"}]}': "x.json:3: agent",
        '{"agents": [{"name": "a", "model": "m", "model": "n"}]}': "is written twice",
        "": "x.json:1: not JSON",
    }.items():
        (folder / "x.json").write_text(text)
        with pytest.raises(Misconfigured, match=re.escape(message)):
            load("x.json")


def test_every_mistake_of_a_file_is_reported_at_once(folder: Path) -> None:
    (folder / "x.yaml").write_text(
        """agents:
  - {name: a, modle: m, model: m}
  - name: b
    model: m
    tools:
      - {name: f}
      - {python: shop}
      - {name: g, description: G, http: {url: "ftp://x"}}
  - {name: b, model: m, toolChoice: missing}
"""
    )
    with pytest.raises(Misconfigured) as raised:
        load("x.yaml")
    lines = raised.value.message.splitlines()
    assert [line.split(":")[1] for line in lines] == ["2", "6", "7", "8", "9", "9"]
    for part in ("modle", "exactly one of", "module:function", "http://", "missing", "two agents"):
        assert part in raised.value.message


def test_an_agent_with_a_wrong_key_has_its_other_mistakes_reported_too(folder: Path) -> None:
    (folder / "x.yaml").write_text(
        """agents:
  - {name: a b, modle: x}
  - {name: b, model: 5, toolChoice: nah, tools: [{name: t, builtin: datetime}]}
  - {name: b, model: m, limits: {maxSteps: -1}, toolChoice: t, tools: [{name: t, builtin: clock}]}
  - {name: c, model: " ", tools: [{builtin: clock}], toolChoice: clock}
  - {modle: m, toolChoice: required}
"""
    )
    with pytest.raises(Misconfigured) as raised:
        load("x.yaml")
    found = sorted(line.removeprefix("x.yaml:") for line in raised.value.message.splitlines())
    assert [line.split(",")[0].split(":")[0] for line in found] == list("22233444556666")
    for part in (
        "'a b' is not an agent's name",
        "there is no tool 'nah'; the agent's tools: t",
        "two agents are called 'b'",
        "model: this is empty",
        "a tool is required, but the agent has none",
    ):
        assert raised.value.message.count(part) == 1


SEVERAL = {
    "a builtin with its own keys, an unknown function and a bad name": (
        "{name: a b, builtin: datetime, effect: read_only, timeout: 3, approval: shop}",
        [
            "approval: true, false, always, never or module:function; 'shop' is not of the form module:function",
            "effect: a builtin tool brings its own effect; remove this key",
            "timeout: a builtin tool brings its own timeout; remove this key",
            "name: 'a b' is not a tool's name: 1 to 64 letters, digits, _ and -",
        ],
    ),
    "an HTTP tool without a name and with its timeout elsewhere, a bad URL and a bad header": (
        "{timeout: 3, http: {url: 'ftp://x', method: PUSH, headers: {host name: x}}}",
        [
            "an HTTP tool needs the key name",
            "timeout: an HTTP tool's timeout is written under http",
            "http.url: a tool's URL begins with http:// or https:// and a host",
            "http.headers.host name: this is not a header's name",
            "http.method: one of GET, POST, PUT, PATCH, DELETE",
        ],
    ),
    "a Python tool of no module with a schema of its own and a name with a meaning": (
        "{name: auto, python: no_such_module:f, parameters: {type: object}}",
        [
            "parameters: a python tool brings its own parameters; remove this key",
            "python: module no_such_module cannot be imported: ModuleNotFoundError: No module named 'no_such_module'",
            "name: 'auto' has a meaning in a tool choice; take another name",
        ],
    ),
    "a tool of two kinds with an unknown approval and a bad name": (
        "{name: ä, builtin: datetime, python: 'a:b', approval: x}",
        [
            "a tool has exactly one of http, python, builtin, agent, client, openapi, mcp, webFetch, webSearch and browser; found python and builtin",
            "approval: true, false, always, never or module:function; 'x' is not of the form module:function",
            "name: 'ä' is not a tool's name: 1 to 64 letters, digits, _ and -",
        ],
    ),
}


@pytest.mark.parametrize(("tool", "mistakes"), SEVERAL.values(), ids=SEVERAL.keys())
def test_every_mistake_of_one_tool_is_found_at_once(
    folder: Path, tool: str, mistakes: list[str]
) -> None:
    (folder / "x.yaml").write_text(f"agents:\n- name: a\n  model: m\n  tools:\n  - {tool}\n")
    with pytest.raises(Misconfigured) as raised:
        load("x.yaml")
    found = [
        re.sub(r'^x.yaml:5: agent "a", (?:tool "[^"]*"|tools\[0\])(?:, |: )', "", line)
        for line in raised.value.message.splitlines()
    ]
    assert found == mistakes


BESIDES = {
    "an unknown key and a bad URL": (
        "{name: f, http: {url: 'ftp://x', retry: 3}}",
        ["http.retry: unknown key; did you mean retries?", "http.url: a tool's URL begins with"],
    ),
    "a wrong type and a bad header": (
        "{name: f, http: {url: 'http://x', timeout: -1, headers: {host name: x}}}",
        [
            "http.timeout: must be greater than 0.0, not -1",
            "http.headers.host name: this is not a header's name",
        ],
    ),
    "an unknown effect and a function that is not there": (
        "{effect: safe, python: shop}",
        ["effect: must be read_only, idempotent or", "python: 'shop' is not of the form"],
    ),
    "a name that is no text, and a bad URL": (
        "{name: [1], http: {url: 'ftp://x'}}",
        ["name: must be text, not a list", "http.url: a tool's URL begins with"],
    ),
    "a misspelt query, whose parameters go nowhere": (
        "{name: f, parameters: {type: object, properties: {a: {}}}, http: {url: 'http://x', qurey: {a: '{a}'}, body: {b: 1}}}",
        ["http.qurey: unknown key; did you mean query?"],
    ),
    "misspelt parameters, of which the URL names one": (
        "{name: f, paramters: {type: object}, http: {url: 'http://x/{a}'}}",
        ["paramters: unknown key; did you mean parameters?"],
    ),
    "a misspelt kind": (
        "{name: f, htpt: {url: 'http://x/{a}'}}",
        ["htpt: unknown key; did you mean http?"],
    ),
}


@pytest.mark.parametrize(("tool", "mistakes"), BESIDES.values(), ids=BESIDES.keys())
def test_a_wrong_key_hides_no_mistake_of_the_same_tool_and_makes_none_up(
    folder: Path, tool: str, mistakes: list[str]
) -> None:
    (folder / "x.yaml").write_text(f"agents:\n- name: a\n  model: m\n  tools:\n  - {tool}\n")
    with pytest.raises(Misconfigured) as raised:
        load("x.yaml")
    lines = raised.value.message.splitlines()
    assert len(lines) == len(mistakes)
    for line, mistake in zip(lines, mistakes, strict=True):
        assert mistake in line


def test_what_is_wrong_with_an_agent_is_found_beside_what_is_wrong_with_its_tools(
    folder: Path,
) -> None:
    (folder / "x.yaml").write_text(
        """agents:
- name: a b
  model: ""
  toolChoice: gone
  tools:
  - {name: f}
  - {name: f, builtin: datetime}
- name: c
  modle: m
  tools:
  - {name: g, http: {url: "ftp://x"}}
  - {name: h, http: {url: "http://x", timeuot: 1}}
- name: d
  model: m
  toolChoice: found
  tools:
  - {python: "shop:found"}
"""
    )
    with pytest.raises(Misconfigured) as raised:
        load("x.yaml")
    lines = raised.value.message.splitlines()
    assert sorted(int(line.split(":")[1]) for line in lines) == [2, 3, 4, 6, 7, 8, 9, 11, 12, 17]
    assert "toolChoice: there is no tool 'gone'; the agent's tools: f, f" in raised.value.message
    assert "'found'" not in raised.value.message, "a tool that cannot be read may have that name"


def test_names_that_are_not_ours_are_written_as_the_file_has_them(folder: Path) -> None:
    (folder / "x.yaml").write_text(
        """agents:
- name: a
  model: m
  limits: {maxSteps: 99999999999999999999}
  tools:
  - name: f
    http: {url: "http://x", headers: {x_key: "${A-B}"}, query: {my_key: "${C-D}"}, maxResultBytes: 1}
    parameters:
      type: object
      properties:
        order_id: {const: 1.0e999}
"""
    )
    with pytest.raises(Misconfigured) as raised:
        load("x.yaml")
    places = [line.rpartition(": ")[0] for line in raised.value.message.splitlines()]
    assert places == [
        'x.yaml:11: agent "a", tool "f", parameters.properties.order_id.const',
        'x.yaml:7: agent "a", tool "f", http.headers.x_key',
        'x.yaml:7: agent "a", tool "f", http.query.my_key',
        'x.yaml:4: agent "a", limits.maxSteps',
    ]


def test_a_python_file_is_read_anew_though_length_and_time_are_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    file = folder / "edited_agents_of_test.py"
    for name in ("one", "two"):
        file.write_text(f"from outlast import Agent\na = Agent({name!r}, model='echo:')\n")
        os.utime(file, (1_700_000_000, 1_700_000_000))
        assert name in [spec.name for spec in load(str(file)).specs]
    sys.modules.pop("edited_agents_of_test", None)
