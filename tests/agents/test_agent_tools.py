"""Tools that are other agents, in agents files and in Python."""

from pathlib import Path

import pytest

from outlast import Agent, agent_tool
from outlast.agents.loader import load, load_listed
from outlast.agents.port import WaitFor
from outlast.agents.tools.agent_kind import Callee, callee_of
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import AgentSpec, Effect, ToolSpec
from outlast.model.error import Misconfigured
from outlast.model.execution import Budget
from outlast.model.spec_json import spec_from_dict, spec_to_dict
from outlast.model.wait import WaitKind
from outlast.testing import FakeClock

FILE = """
agents:
  - name: lead
    model: m
    tools:
      - agent: researcher
      - agent: {name: writer, version: 2, limits: {maxSteps: 3, maxSeconds: 9.5}}
        name: write
        description: Write a page
        approval: true
      - agent: lead
  - {name: researcher, model: m, description: Finds sources}
  - {name: writer, model: m, description: Writes}
"""
WRONG = """
agents:
  - name: lead
    model: m
    tools:
      - agent: reseacher
      - agent: {name: 5}
      - agent: {name: researcher, version: 0}
      - agent: researcher
        name: again
        timeout: 5
  - {name: researcher, model: m, tols: []}
  - name: other
    model: m
    tools: [{agent: ghost}]
"""


def _loaded(folder: Path, text: str) -> dict[str, AgentSpec]:
    (folder / "agents.yaml").write_text(text)
    return {spec.name: spec for spec in load(str(folder / "agents.yaml")).specs}


def test_an_agent_is_a_tool_with_its_name_its_description_and_one_argument(tmp_path: Path) -> None:
    first, second, itself = _loaded(tmp_path, FILE)["lead"].tools
    assert (first.name, first.description, first.approval) == ("researcher", "Finds sources", False)
    assert first.parameters["required"] == ["input"]
    assert first.effect is Effect.IDEMPOTENT
    assert callee_of(first) == Callee("researcher")
    assert (second.name, second.description, second.approval) == ("write", "Write a page", True)
    callee = callee_of(second)
    assert callee == Callee("writer", 2, {"max_steps": 3, "max_seconds": 9.5})
    assert callee.budget == Budget(max_steps=3, max_seconds=9.5)
    assert itself.description == "Run the agent lead on an input; returns its answer."


def test_all_mistakes_of_agents_as_tools_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as found:
        _loaded(tmp_path, WRONG)
    said = found.value.message.replace(f"{tmp_path}/", "").splitlines()
    assert sorted(said) == sorted(set(said))
    expected = (
        'agents.yaml:7: agent "lead", tools[1], agent.name: must be text, not 5',
        'agents.yaml:8: agent "lead", tools[2], agent.version: must be greater than 0, not 0',
        'agents.yaml:12: agent "researcher", tols: unknown key',
        "agents.yaml:15: agent \"other\", tools[0], agent: there is no agent 'ghost'",
    )
    for line in expected:
        assert any(one.startswith(line) for one in said), (line, said)


def test_an_unknown_agent_is_named_with_file_and_line(tmp_path: Path) -> None:
    text = "agents:\n- name: a\n  model: m\n  tools:\n  - agent: b\n  - agent: {name: c}\n"
    with pytest.raises(Misconfigured) as found:
        _loaded(tmp_path, text)
    assert found.value.message.replace(f"{tmp_path}/", "").splitlines() == [
        "agents.yaml:5: agent \"a\", tools[0], agent: there is no agent 'b'; the agents: a",
        "agents.yaml:6: agent \"a\", tools[1], agent: there is no agent 'c'; the agents: a",
    ]


def test_agents_in_python_call_each_other() -> None:
    tool = agent_tool("researcher", name="look", approval=True, version=3, max_tokens=10)
    lead = Agent("lead", model="m", tools=[tool, agent_tool("researcher")])
    researcher = Agent("researcher", model="m", description="Finds sources")
    named, plain = load_listed([lead, researcher], "here").specs[0].tools
    assert (named.name, named.description, named.approval) == ("look", "Finds sources", True)
    assert callee_of(named) == Callee("researcher", 3, {"max_tokens": 10})
    assert plain.name == "researcher"
    with pytest.raises(
        Misconfigured, match=r"here: agent \"lead\".*there is no agent 'researcher'"
    ):
        load_listed([lead], "here")
    with pytest.raises(Misconfigured, match="greater than 0"):
        Agent("lead", model="m", tools=[agent_tool("x", max_steps=0)])


def test_a_tool_that_is_an_agent_is_stored_with_its_version() -> None:
    tool = agent_tool("researcher", version=3, max_tokens=10)
    spec = AgentSpec("lead", "m", tools=(tool,))
    assert spec_from_dict(spec_to_dict(spec)) == spec


def test_a_call_of_an_agent_waits_for_a_child() -> None:
    box = ToolBox(FakeClock())
    tool: ToolSpec = agent_tool("researcher")
    assert box.waits_for(tool, {"input": "x"}) == WaitFor(WaitKind.CHILD)
