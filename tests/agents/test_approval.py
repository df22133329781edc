"""How tools say that a person decides: always, never, by a function of the arguments; expiry."""

import sys
from pathlib import Path
from typing import Any

import pytest

from outlast.agents.define import Agent, tool
from outlast.agents.loader import load
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import Expiry, ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.error import InvalidArguments, Misconfigured
from outlast.model.spec_json import spec_digest, spec_from_dict, spec_to_dict

pytestmark = pytest.mark.anyio
RULES = "def dear(arguments):\n    return arguments['amount'] > 10\n"


@tool(approval=lambda arguments: arguments["amount"] > 10, expiry=Expiry(60, approve=True))
def pay(amount: int) -> int:
    """Pay."""
    return amount


async def test_a_functions_predicate_says_whether_a_person_decides() -> None:
    agent = Agent("a", model="m", tools=[pay])
    (spec,) = agent.spec.tools
    box = ToolBox(SystemClock(), agent.functions)
    assert spec.expiry == Expiry(60, approve=True)
    assert await box.asks(spec, {"amount": 11})
    assert not await box.asks(spec, {"amount": 10})
    assert await box.asks(spec, {}), "a call whose predicate fails needs an approval"


async def test_a_stored_version_keeps_its_predicate_and_expiry() -> None:
    spec = Agent("a", model="m", tools=[pay]).spec
    again = spec_from_dict(spec_to_dict(spec))
    assert again == spec
    assert spec_digest(again) == spec_digest(spec)


def yaml(folder: Path, approval: str) -> ToolSpec:
    (folder / "approval_rules.py").write_text(RULES)
    file = folder / "agents.yaml"
    tools = f"[{{builtin: calculator, approval: {approval}}}]"
    file.write_text(f"agents: [{{name: a, model: 'local:x', tools: {tools}}}]")
    return load(str(file)).specs[0].tools[0]


@pytest.mark.parametrize(
    ("written", "approval", "expiry"),
    [
        ("true", True, None),
        ("always", True, None),
        ("never", False, None),
        ("'approval_rules:dear'", "approval_rules:dear", None),
        ("{expires: 9, default: approve}", True, Expiry(9, approve=True)),
        ("{ask: 'approval_rules:dear', expires: 9}", "approval_rules:dear", Expiry(9)),
    ],
)
async def test_an_agents_file_says_it_too(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: str,
    approval: Any,
    expiry: Expiry | None,
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = yaml(tmp_path, written)
    assert (spec.approval, spec.expiry) == (approval, expiry)
    if isinstance(approval, str):
        assert await ToolBox(SystemClock()).asks(spec, {"amount": 11})
        assert not await ToolBox(SystemClock()).asks(spec, {"amount": 1})
    sys.modules.pop("approval_rules", None)


@pytest.mark.parametrize("written", ["sometimes", "'approval_rules:cheap'", "{default: maybe}"])
def test_what_is_none_of_these_is_refused_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(Misconfigured, match="approval"):
        yaml(tmp_path, written)
    sys.modules.pop("approval_rules", None)


def test_a_predicate_is_not_async() -> None:
    async def asks(_: dict[str, Any]) -> bool:
        return True

    with pytest.raises(Misconfigured, match="not async"):
        tool(approval=asks)  # type: ignore[arg-type]


def test_edited_arguments_are_checked_and_the_place_is_named() -> None:
    box, (spec,) = ToolBox(SystemClock()), Agent("a", model="m", tools=[pay]).spec.tools
    box.check(spec, {"amount": 1})
    with pytest.raises(InvalidArguments) as wrong:
        box.check(spec, {"amount": "x"})
    assert wrong.value.param == "parameters.amount"
