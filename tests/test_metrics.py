"""Metrics: what one process counts, and what that costs."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from outlast.agents.port import Answer, Model, ModelEvent, ModelRequest, TextPiece
from outlast.metrics import MeasuredModels, Metrics
from outlast.model.error import ModelUnavailable
from outlast.model.event import Entry, ExecutionCompleted, TextAdded, ToolFinished
from outlast.model.message import AssistantMessage
from outlast.model.usage import NO_USAGE
from outlast.store.port import Committed
from outlast.testing import FakeClock, NamedModels

pytestmark = pytest.mark.anyio


def _lines(metrics: Metrics) -> list[str]:
    return metrics.render().decode().splitlines()


class _Says:
    """A model that takes a second for each piece."""

    def __init__(self, clock: FakeClock, *, fails: bool = False) -> None:
        self._clock = clock
        self._fails = fails

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        for piece in ("a", "b"):
            self._clock.advance(1)
            yield TextPiece(piece)
        if self._fails:
            raise ModelUnavailable
        yield Answer(AssistantMessage(()), NO_USAGE, "m", "stop")

    async def close(self) -> None:
        pass


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
    metrics.watch(running=lambda: running[0], backlog=lambda: 7, followers=lambda: 9)
    running[0] = 5.0

    lines = _lines(metrics)
    assert "outlast_segments_running 5.0" in lines
    assert "outlast_backlog 7.0" in lines
    assert "outlast_followers 9.0" in lines


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


@pytest.mark.parametrize(
    ("fails", "reads_all", "outcome"),
    [(False, True, "ok"), (True, True, "model_unavailable"), (False, False, "closed")],
)
async def test_a_model_request_is_timed_however_it_ends(
    fails: bool, reads_all: bool, outcome: str
) -> None:
    metrics, clock = Metrics(), FakeClock()
    models = MeasuredModels(NamedModels({"m": _Says(clock, fails=fails)}), metrics, clock)
    model: Model = models.find("m")
    request = ModelRequest("", ())

    try:
        async with aclosing(model.stream(request)) as events:
            async for event in events:
                if isinstance(event, Answer) or not reads_all:
                    break
    except ModelUnavailable:
        assert fails

    seconds = 2.0 if reads_all else 1.0
    line = f'outlast_model_request_seconds_sum{{model="m",outcome="{outcome}"}} {seconds}'
    assert line in _lines(metrics)


async def test_counting_costs_microseconds() -> None:
    metrics = Metrics()
    committed = Committed("exec_1", (Entry(1, 1, 0, TextAdded(1, 0, ("x",))),))
    began = time.process_time()
    for _ in range(2000):
        metrics.committed(committed)
        metrics.wrote(0.001, 1)
        metrics.answered("executions", "GET", "/v1/executions", 200)

    assert (time.process_time() - began) / 2000 < 100e-6
