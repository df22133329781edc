"""An agents file in JSON, and all of a file's mistakes at once."""

import json
import re
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


def test_every_mistake_of_a_file_is_told_at_once(folder: Path) -> None:
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
