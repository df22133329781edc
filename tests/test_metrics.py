"""Metrics: what one process counts, and what that costs."""

import pytest

from outlast.metrics import Metrics
from outlast.model.event import Entry, ExecutionCompleted, TextAdded, ToolFinished
from outlast.store.listeners import Committed

pytestmark = pytest.mark.anyio


def _lines(metrics: Metrics) -> list[str]:
    return metrics.render().decode().splitlines()


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
        )
    )

    lines = _lines(metrics)
    assert 'outlast_executions_ended_total{status="completed"} 1.0' in lines
    assert 'outlast_executions_ended_total{status="failed"} 0.0' in lines
    assert 'outlast_tool_call_seconds_sum{outcome="ok",tool="lookup"} 1.5' in lines


async def test_the_state_of_now_is_read_when_somebody_looks() -> None:
    metrics, running = Metrics(), [3.0]
    metrics.watch(
        running=lambda: running[0],
        backlog=lambda: 7,
        followers=lambda: 9,
        taken_over=lambda: 2,
        orphans=lambda: 0,
    )
    running[0] = 5.0

    lines = _lines(metrics)
    assert "outlast_segments_running 5.0" in lines
    assert "outlast_backlog 7.0" in lines
    assert "outlast_followers 9.0" in lines
    assert "outlast_jobs_taken_over_total 2.0" in lines
    assert "outlast_executions_orphaned_total 0.0" in lines


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
    metrics.model_asked("m", "ok", 2.0)
    metrics.model_asked("m", "model_unavailable", 1.0)
    lines = _lines(metrics)
    assert 'outlast_model_request_seconds_sum{model="m",outcome="ok"} 2.0' in lines
    assert 'outlast_model_request_seconds_count{model="m",outcome="model_unavailable"} 1.0' in lines
