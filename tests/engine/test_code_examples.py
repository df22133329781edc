"""The examples of code agents run: a hand-written loop, a pydantic-ai Agent, a LangGraph graph."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from outlast.agents.code import CodeFunctions
from outlast.agents.loader import LoadedAgents, load
from outlast.agents.port import ModelRequest
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.execution import Status, ToolStep
from outlast.model.spec_json import spec_digest, spec_from_dict, spec_to_dict
from outlast.testing import FakeClock, NamedModels, core_on, owner
from tests.engine.test_code import prompt
from tests.support.engine import EngineHarness, start_request
from tests.support.models import FakeModel, Reply
from tests.support.tools import call

pytestmark = pytest.mark.anyio
EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@contextmanager
def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadedAgents]:
    """An example, as a server loads it; LangGraph traces nothing, whatever this machine says."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("LANGSMITH_TRACING_V2", "false")  # it wins over its other names
    yield load(str(EXAMPLES / f"{name}.py"))
    sys.modules.pop(name, None)


@pytest.fixture(params=["own_loop", "pydantic_ai_loop", "langgraph_loop"])
def example(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LoadedAgents]:
    with loaded(request.param, monkeypatch) as found:
        yield found


def sell(request: ModelRequest) -> Reply:
    shown = prompt(request)
    return (
        ["Tea is 3."] if "price: 3" in shown else ["Let me see.", call(1, "price", article="tea")]
    )


async def test_the_example_sells_tea(example: LoadedAgents, tmp_path: Path) -> None:
    (spec,) = example.specs
    assert spec_from_dict(spec_to_dict(spec)) == spec
    model, clock = FakeModel(sell), FakeClock()
    async with core_on(
        tmp_path,
        models=NamedModels({spec.model: model}),
        tools=ToolBox(clock, example.functions),
        code=CodeFunctions(example.code),
        clock=clock,
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec, spec_digest(spec))])
        started = await core.services.executions.start(caller, spec.name, start_request("Tea?"))
        view = await EngineHarness(core, caller, model, clock).rest(started.execution.id)
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Tea is 3.")
    assert [step.result for step in view.steps if isinstance(step, ToolStep)] == [3]
    assert "You sell tea and bread." in model.requests[0].instructions
    assert [tool.name for tool in model.requests[0].tools] == ["price"]
