"""Metrics of one process in Prometheus's text format.

Most are counted as commits come in: executions that end, tools that ran. Gauges are read when the
metrics are. Labels that users choose (models and tools) are bounded: beyond the bound they are
counted as `other`. Names made up by a model are no labels.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from outlast.duty import Failures
from outlast.model.agent import Agent
from outlast.model.event import (
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionFailed,
    ToolFinished,
)
from outlast.store.listeners import Committed

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
OTHER: Final = "other"
"""Label beyond the bound."""
UNKNOWN: Final = "unknown"
"""Label of a tool that the agent does not have."""
_LABELS: Final = 200
"""Maximum distinct values of a label that users choose."""
_ENDS: Final[dict[type, str]] = {
    ExecutionCompleted: "completed",
    ExecutionFailed: "failed",
    ExecutionCancelled: "cancelled",
}
_COMMIT_BUCKETS: Final = (
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
)
_CALL_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

_OUTCOMES: Final = ("started", "skipped", "failed")


class Metrics:
    """Counts what one process does."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._ended = Counter(
            "outlast_executions_ended", "Executions that ended.", ["status"], registry=registry
        )
        for status in _ENDS.values():
            self._ended.labels(status)
        self._commits = Histogram(
            "outlast_commit_seconds",
            "Database commits and how long each took.",
            buckets=_COMMIT_BUCKETS,
            registry=registry,
        )
        self._writes = Counter("outlast_writes", "Transactions in commits.", registry=registry)
        self._models = _calls("outlast_model_request_seconds", "Model requests.", "model", registry)
        self._tools = _calls("outlast_tool_call_seconds", "Tool calls.", "tool", registry)
        self._requests = Counter(
            "outlast_http_requests",
            "HTTP requests.",
            ["room", "method", "route", "status"],
            registry=registry,
        )
        self._duties = Histogram(
            "outlast_maintenance_seconds",
            "Successful batches of maintenance duties, and how long each took.",
            ["duty"],
            buckets=_COMMIT_BUCKETS,
            registry=registry,
        )
        self._succeeded = Gauge(
            "outlast_maintenance_last_success_timestamp_seconds",
            "When a maintenance duty last succeeded in this process.",
            ["duty"],
            registry=registry,
        )
        self._budgets = Counter(
            "outlast_budget_levels",
            "Levels that budgets have reached.",
            ["kind", "level"],
            registry=registry,
        )
        self._scheduled = Counter(
            "outlast_schedule_runs", "Times of schedules.", ["outcome"], registry=registry
        )
        for outcome in _OUTCOMES:
            self._scheduled.labels(outcome)
        self._embedded = Counter(
            "outlast_embedded_tokens", "Tokens that were embedded.", ["model"], registry=registry
        )
        self.failures = Failures()
        """Records failures of background work."""
        registry.register(_Failures(self.failures))
        self._children: dict[tuple[Any, ...], Any] = {}
        self._chosen: dict[str, set[str]] = {"model": set(), "tool": set(), "embedding": set()}
        self._ends = {kind: self._ended.labels(status) for kind, status in _ENDS.items()}

    def watch(
        self,
        *,
        running: Callable[[], float],
        backlog: Callable[[], float],
        followers: Callable[[], float],
        taken_over: Callable[[], float],
        orphans: Callable[[], float],
        leads: Callable[[], float],
        retention: Callable[[], float],
        mcp: Callable[[], float],
    ) -> None:
        """Set the sources of gauges, and of counts kept elsewhere; called once."""
        now = {
            "outlast_segments_running": ("Segments that run in this process.", running),
            "outlast_backlog": ("Executions that wait for a free slot.", backlog),
            "outlast_followers": ("Open streams and waiting requests.", followers),
            "outlast_maintenance_leader": ("Whether this process leads maintenance.", leads),
            "outlast_retention_backlog": ("Conversations past their retention.", retention),
            "outlast_mcp_connections": ("Connections to MCP servers.", mcp),
        }
        for name, (description, read) in now.items():
            Gauge(name, description, registry=self._registry).set_function(read)
        self._registry.register(_KeptElsewhere(taken_over, orphans))

    def budget_reached(self, kind: str, level: int) -> None:
        """Count a budget of which this percentage is spent."""
        self._budgets.labels(kind, str(level)).inc()

    def committed(self, committed: Committed, agent: Agent | None) -> None:
        """Count a commit of an agent's execution: whether it ended in it, and tools that ran.

        A tool that the agent does not have is counted as UNKNOWN: a model may make up any name.
        """
        for entry in committed.entries:
            kind = type(entry.event)
            if (end := self._ends.get(kind)) is not None:
                end.inc()
            elif isinstance(entry.event, ToolFinished) and entry.event.execution_id is None:
                event = entry.event
                outcome = "error" if event.is_error else "ok"
                name = event.name if _has(agent, event.name) else UNKNOWN
                self.tool_called(name, outcome, event.duration_ms / 1000)

    def wrote(self, seconds: float, writes: int) -> None:
        """Record a commit: its seconds and number of transactions; from any thread."""
        self._commits.observe(seconds)
        self._writes.inc(writes)

    def maintained(self, duty: str, seconds: float, at: int) -> None:
        """Count a successful batch of a duty, at a time in milliseconds."""
        self._duties.labels(duty).observe(seconds)
        self._succeeded.labels(duty).set(at / 1000)

    def scheduled(self, outcome: str) -> None:
        """Count the time of a schedule: started, skipped (an earlier run was live) or failed."""
        self._scheduled.labels(outcome).inc()

    def tool_called(self, tool: str, outcome: str, seconds: float) -> None:
        """Count a tool call: ok or error."""
        self._observe(self._tools, "tool", tool, outcome, seconds)

    def model_requested(self, model: str, outcome: str, seconds: float) -> None:
        """Count a model request: ok, closed (the rest was not needed), or the error's code."""
        self._observe(self._models, "model", model, outcome, seconds)

    def embedded(self, model: str, tokens: int) -> None:
        """Count the tokens of a request for vectors."""
        self._embedded.labels(self._bounded("embedding", model)).inc(tokens)

    def answered(self, room: str, method: str, route: str, status: int) -> None:
        """Count an HTTP request; `route` is the template with its placeholders."""
        key = (room, method, route, status)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._requests.labels(room, method, route, str(status))
        child.inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format, of the version in CONTENT_TYPE."""
        return generate_latest(self._registry)

    def _observe(
        self, histogram: Histogram, label: str, value: str, outcome: str, seconds: float
    ) -> None:
        key = (label, value, outcome)
        child = self._children.get(key)
        if child is None:
            child = histogram.labels(self._bounded(label, value), outcome)
            if value in self._chosen[label]:
                self._children[key] = child
        child.observe(seconds)

    def _bounded(self, label: str, value: str) -> str:
        known = self._chosen[label]
        if value not in known:
            if len(known) >= _LABELS:
                return OTHER
            known.add(value)
        return value


def _has(agent: Agent | None, tool: str) -> bool:
    """Whether the agent has the tool; a code agent's function calls only what its author named."""
    return agent is not None and (agent.spec.code is not None or agent.spec.has(tool))


class _KeptElsewhere(Collector):
    """Counts of the engine, read with the metrics."""

    def __init__(self, taken_over: Callable[[], float], orphans: Callable[[], float]) -> None:
        self._taken_over = taken_over
        self._orphans = orphans

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(
            "outlast_jobs_taken_over",
            "Executions of silent workers that this process reassigned.",
            self._taken_over(),
        )
        yield CounterMetricFamily(
            "outlast_executions_orphaned",
            "Executions that should have been queued and were not; stays 0.",
            self._orphans(),
        )


class _Failures(Collector):
    """Failures of background work, read with the metrics."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures

    def collect(self) -> Iterator[CounterMetricFamily]:
        failed = CounterMetricFamily(
            "outlast_duty_failures",
            "Failures of background work in this process; it is tried again after them.",
            labels=["duty"],
        )
        for duty, count in sorted(self._failures.counts.items()):
            failed.add_metric([duty], count)
        yield failed


def _calls(name: str, description: str, label: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(
        name, description, [label, "outcome"], buckets=_CALL_BUCKETS, registry=registry
    )
