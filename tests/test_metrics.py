"""Metrics: what one process counts, and what that costs."""

import pytest

from outlast.metrics import Metrics
from outlast.model.agent import Agent, ToolSpec
from outlast.model.event import Entry, ExecutionCompleted, TextAdded, ToolFinished
from outlast.store.listeners import Committed
from outlast.testing import NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = pytest.mark.anyio


def _lines(metrics: Metrics) -> list[str]:
    return metrics.render().decode().splitlines()


def agent_with(*tools: ToolSpec) -> Agent:
    return Agent("agt_1", "ws_1", 1, spec(*tools), 0, 0)


async def test_ends_and_tool_calls_are_heard_from_commits() -> None:
    metrics = Metrics()
    metrics.committed(
        Committed(
            "exec_1",
            (
                Entry(1, 1, 0, TextAdded(1, 0, ("x",))),
                Entry(1, 2, 0, ToolFinished(2, "tc_1", "lookup", {}, False, 1500)),
                Entry(1, 3, 0, ExecutionCompleted()),
            ),
        ),
        agent_with(tool("lookup")),
    )

    lines = _lines(metrics)
    assert 'outlast_executions_ended_total{status="completed"} 1.0' in lines
    assert 'outlast_executions_ended_total{status="failed"} 0.0' in lines
    assert 'outlast_tool_call_seconds_sum{outcome="ok",tool="lookup"} 1.5' in lines


async def test_the_state_of_now_is_read_when_metrics_are_read() -> None:
    metrics, running = Metrics(), [3.0]
    metrics.watch(
        running=lambda: running[0],
        backlog=lambda: 7,
        followers=lambda: 9,
        taken_over=lambda: 2,
        orphans=lambda: 0,
        leads=lambda: 1,
        retention=lambda: 4,
        mcp=lambda: 3,
    )
    running[0] = 5.0

    lines = _lines(metrics)
    assert "outlast_segments_running 5.0" in lines
    assert "outlast_backlog 7.0" in lines
    assert "outlast_followers 9.0" in lines
    assert "outlast_mcp_connections 3.0" in lines
    assert "outlast_jobs_taken_over_total 2.0" in lines
    assert "outlast_executions_orphaned_total 0.0" in lines
    assert "outlast_maintenance_leader 1.0" in lines


async def test_batches_of_maintenance_are_counted_with_their_time() -> None:
    metrics = Metrics()
    metrics.maintained("due_tasks", 0.25, 1_772_000_000_500)
    lines = _lines(metrics)
    assert 'outlast_maintenance_seconds_count{duty="due_tasks"} 1.0' in lines
    assert 'outlast_maintenance_seconds_sum{duty="due_tasks"} 0.25' in lines
    last = 'outlast_maintenance_last_success_timestamp_seconds{duty="due_tasks"} 1.7720000005e+09'
    assert last in lines


async def test_commits_and_requests_are_counted() -> None:
    metrics = Metrics()
    metrics.wrote(0.003, 12)
    metrics.answered("executions", "GET", "/v1/executions/{id}", 200)
    metrics.answered("executions", "GET", "/v1/executions/{id}", 200)

    lines = _lines(metrics)
    assert "outlast_commit_seconds_count 1.0" in lines
    assert 'outlast_commit_seconds_bucket{le="0.005"} 1.0' in lines
    assert "outlast_writes_total 12.0" in lines
    assert (
        'outlast_http_requests_total{method="GET",room="executions",'
        'route="/v1/executions/{id}",status="200"} 2.0'
    ) in lines


async def test_labels_that_users_choose_are_bounded() -> None:
    metrics = Metrics()
    for number in range(500):
        metrics.tool_called(f"tool{number}", "ok", 0.1)

    counts = [
        line for line in _lines(metrics) if line.startswith("outlast_tool_call_seconds_count")
    ]
    assert len(counts) == 201
    assert 'outlast_tool_call_seconds_count{outcome="ok",tool="other"} 300.0' in counts


def test_model_requests_are_timed_by_how_they_ended() -> None:
    metrics = Metrics()
    metrics.model_requested("m", "ok", 2.0)
    metrics.model_requested("m", "model_unavailable", 1.0)
    lines = _lines(metrics)
    assert 'outlast_model_request_seconds_sum{model="m",outcome="ok"} 2.0' in lines
    assert 'outlast_model_request_seconds_count{model="m",outcome="model_unavailable"} 1.0' in lines


@pytest.mark.parametrize("made_up", ["look", "lookup ", "x" * 1_000_000, "", 'a"b\n', "other"])
async def test_a_tool_that_the_agent_does_not_have_is_no_label(made_up: str) -> None:
    metrics = Metrics()
    events = [ToolFinished(n, "tc", f"{made_up}{n or ''}", "no", True, 10) for n in range(300)]
    entries = tuple(Entry(1, n, 0, event) for n, event in enumerate(events, 1))
    for agent in (agent_with(tool("lookup")), agent_with(), None):
        metrics.committed(Committed("exec_1", entries), agent)
    metrics.committed(
        Committed("exec_1", (Entry(1, 1, 0, ToolFinished(1, "tc", "lookup", 1, False, 10)),)),
        agent_with(tool("lookup")),
    )
    found = [line for line in _lines(metrics) if line.startswith("outlast_tool_call_seconds_count")]
    assert sorted(found) == [
        'outlast_tool_call_seconds_count{outcome="error",tool="unknown"} 900.0',
        'outlast_tool_call_seconds_count{outcome="ok",tool="lookup"} 1.0',
    ]
    assert len(metrics.render()) < 100_000


async def test_names_that_a_model_makes_up_are_counted_as_unknown(database: Database) -> None:
    calls = [call(n, name) for n, name in enumerate(("look", "delete_all", "x" * 5000), 1)]
    actor = FakeModel(by_turn(calls, ["done"]))
    async with database.core(
        models=NamedModels({"actor": actor}), tools=FakeTools(look=lambda _: 1)
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(tool("look")), "1")])
        await core.services.executions.run(caller, "agent", start_request())
        counts = [
            line for line in _lines(core.metrics) if line.startswith("outlast_tool_call_seconds_c")
        ]
    assert any('tool="look"' in line and line.endswith(" 1.0") for line in counts)
    assert any('tool="unknown"' in line and line.endswith(" 2.0") for line in counts)
    assert len([line for line in counts if "_count" in line]) == 2
