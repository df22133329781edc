"""The composition root: all parts are created and connected here."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from outlast.activity import Activity
from outlast.agents.code import CodeFunctions
from outlast.agents.embeddings.catalogue import Embedders
from outlast.agents.memory_search import MemorySearch
from outlast.agents.port import Models, Tools
from outlast.agents.prices.price_list import PriceList
from outlast.databases import driver_of, jobs_of, queue_of
from outlast.duty import Duty, Failures
from outlast.engine.budget_notices import BudgetNotices
from outlast.engine.code_agents.runner import CodeAgentRunner
from outlast.engine.dispatch.inline import InlineEngine
from outlast.engine.dispatch.port import Engine
from outlast.engine.maintenance.budget_levels import BudgetLevels
from outlast.engine.maintenance.due_schedules import DueSchedules
from outlast.engine.maintenance.due_tasks import DueTasks
from outlast.engine.maintenance.due_waits import DueWaits
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.engine.maintenance.erased_memory import ErasedMemory
from outlast.engine.maintenance.idempotency_keys import IdempotencyKeys
from outlast.engine.maintenance.leader import (
    Leadership,
    LeaseLeader,
    SoleProcess,
    lease_seconds,
)
from outlast.engine.maintenance.lost_requests import LostRequests
from outlast.engine.maintenance.pending_vectors import PendingVectors
from outlast.engine.maintenance.retention import Retention
from outlast.engine.maintenance.runner import MaintenanceRunner
from outlast.engine.maintenance.usage_hours import UsageHours
from outlast.engine.segment.breaker import Breakers
from outlast.engine.segment.browsers import SegmentBrowsers
from outlast.engine.segment.call_contexts import CallContexts
from outlast.engine.segment.call_waits import CallWaits
from outlast.engine.segment.children import Children
from outlast.engine.segment.history import Histories
from outlast.engine.segment.inputs import Inputs
from outlast.engine.segment.last_resort import LastResort
from outlast.engine.segment.model_steps import ModelSteps
from outlast.engine.segment.pending_calls import PendingCalls
from outlast.engine.segment.reservations import Reservations
from outlast.engine.segment.runner import Runner
from outlast.engine.segment.segments import Segments
from outlast.engine.segment.sight import Sight
from outlast.engine.segment.text_log import TextLog
from outlast.engine.segment.tool_calls import ToolCalls
from outlast.engine.segment.writer import SegmentWriter
from outlast.engine.unwanted_calls import UnwantedCalls
from outlast.metrics import Metrics
from outlast.model.clock import Clock, SystemClock
from outlast.model.error import Misconfigured, OutlastError
from outlast.seal import Seal
from outlast.services.agents import Agents
from outlast.services.all import Services
from outlast.services.embedding_charges import EmbeddingCharges
from outlast.services.memory import Memory
from outlast.services.schedules import new_runs
from outlast.settings import Settings
from outlast.store.driver import Driver
from outlast.store.known_agents import KnownAgents
from outlast.store.leases import Leases
from outlast.store.listeners import Committed, Listeners
from outlast.store.store import Store
from outlast.stream import POLL_SECONDS, Streams

if TYPE_CHECKING:
    from outlast.engine.dispatch.procrastinate.jobs import Jobs

_NOTE_KEY_USES: Final = "key_uses"
"""Name of the duty that notes which keys were used."""
_NOTE_SECONDS: Final = 60.0
_LAST_NOTE_SECONDS: Final = 2.0
"""How long a process that leaves may take for it."""
_POLL_POSTGRES: Final = 5.0
"""Notifications may be lost with the process that was to send them."""


@dataclass(frozen=True, slots=True)
class Core:
    """Everything below the rooms."""

    settings: Settings
    clock: Clock
    store: Store
    streams: Streams
    engine: Engine
    models: Models
    tools: Tools
    services: Services
    metrics: Metrics
    maintenance: MaintenanceRunner
    seal: Seal
    prices: PriceList
    embedders: Embedders
    unwanted: UnwantedCalls
    key_uses: Duty

    async def open(self) -> None:
        """Find the secret and open the database. Raises StoreLocked, Misconfigured."""
        self.seal.prepare()
        await self.store.open()
        await self.engine.open()

    async def start(self, *, recover: bool = True) -> None:
        """Begin to run executions; with `recover`, first those that an earlier process left."""
        await self.engine.start(recover=recover)
        await self.maintenance.start()
        self.key_uses.start()

    async def warm_up(self, models: Iterable[str] = ()) -> None:
        """Load what the first execution needs, so that it does not have to wait.

        `models` are looked up in the list of prices, if it is used.
        """
        await self.models.warm_up()
        await self.tools.warm_up()
        await self.prices.learn(models)

    async def drain(self) -> None:
        """Begin no new work; let running steps end, and another process lead maintenance."""
        await self.maintenance.stop()
        await self.key_uses.stop()
        await self.engine.stop(self.settings.drain_seconds)
        with suppress(OutlastError, TimeoutError):  # the database may be away, or not answer
            async with asyncio.timeout(_LAST_NOTE_SECONDS):
                await self.services.keys.note_uses()

    async def close(self) -> None:
        """Let running steps end, then release everything."""
        await self.drain()
        await self.unwanted.found()
        await self.tools.close()
        await self.store.close()
        await self.models.close()
        await self.embedders.close()


def build(
    settings: Settings,
    *,
    models: Models,
    tools: Callable[[Store, MemorySearch], Tools],
    code: CodeFunctions | None = None,
    clock: Clock | None = None,
    store: Callable[[Driver], Store] | None = None,
    worker: bool = True,
    embedders: Embedders | None = None,
) -> Core:
    """Build a core; nothing is opened yet.

    `tools` makes the tools, which may reach the store and the search of its memory; `embedders` are
    by default those of the settings. Without `worker`, executions run in other processes only.
    Raises Misconfigured.
    """
    clock = clock or SystemClock()
    embedders = embedders or Embedders(clock, settings.data_dir, providers=settings.providers)
    metrics = Metrics()
    failures = metrics.failures
    jobs = jobs_of(settings)
    driver = driver_of(settings, measured=metrics.wrote, failures=failures, jobs=jobs)
    state = Store.over(driver, settings.plans) if store is None else store(driver)
    memories, vectors = state.memories, state.vectors
    search = MemorySearch(memories, vectors, embedders, settings.vector_cache_bytes)
    box = tools(state, search)
    prices = PriceList(settings.prices, models, clock)
    seal = Seal(settings.secret_key, settings.secret_file, clock)
    agents = Agents(state.agents, clock)
    writer = SegmentWriter(
        state.executions, TextLog(state.executions, failures, clock), clock, prices
    )
    contexts = CallContexts(seal)
    unwanted = UnwantedCalls(state.executions, box, agents.known, contexts, failures)
    runner = _runner(settings, state, writer, models, box, code, agents, seal, metrics, unwanted)
    most = settings.max_tries
    last_resort = LastResort(state, clock, most)
    segments = Segments(runner, last_resort, clock, failures)
    engine = _engine(settings, state, segments, jobs, clock, failures, worker=worker)
    streams = Streams(state.executions, _POLL_POSTGRES if settings.on_postgres else POLL_SECONDS)
    committed = _committed(streams, metrics, agents.known, segments, unwanted)
    leadership = _leadership(settings, driver, failures, worker=worker)
    retention = Retention(state.conversations, settings.plans, clock)
    embedders.watch(metrics.embedded)
    embedding = PendingVectors(vectors, embedders, clock).duty
    own = (retention.duty, embedding, *engine.duties)
    maintenance = _maintenance(settings, state, own, leadership, last_resort, clock, metrics)
    callbacks = (engine.runnable, engine.begun, engine.requested, engine.cancel)
    others = (streams.missed, leadership.released)
    state.listen(Listeners(committed, *callbacks, *others, paused=engine.pause))
    _watch(metrics, engine, streams, leadership, retention, box)
    charges = EmbeddingCharges(state.request_charges, memories, prices, clock)
    memory = Memory(memories, clock, search, charges)
    below = (engine, streams, agents, clock, seal, box, memory, unwanted)
    services = Services.over(settings, state, *below, prices=prices)
    parts = (models, box, services, metrics, maintenance, seal, prices, embedders, unwanted)
    noting = (_NOTE_KEY_USES, services.keys.note_uses)
    key_uses = Duty(*noting, every=_NOTE_SECONDS, sleep=clock.sleep, failures=failures)
    return Core(settings, clock, state, streams, engine, *parts, key_uses)


def _watch(
    metrics: Metrics, engine: Engine, streams: Streams, lead: Leadership, due: Retention, box: Tools
) -> None:
    """Set the sources of the gauges."""
    metrics.watch(
        running=lambda: engine.running,
        backlog=lambda: engine.backlog if lead.leads else 0,
        followers=lambda: streams.followers,
        taken_over=lambda: engine.taken_over,
        orphans=lambda: engine.orphans,
        leads=lambda: lead.leads,
        retention=lambda: due.backlog if lead.leads else 0,
        mcp=lambda: box.connections,
    )


def _runner(
    settings: Settings,
    store: Store,
    writer: SegmentWriter,
    models: Models,
    tools: Tools,
    code: CodeFunctions | None,
    agents: Agents,
    seal: Seal,
    metrics: Metrics,
    unwanted: UnwantedCalls,
) -> Runner:
    """Return what runs segments."""
    waits = CallWaits(tools)
    children = Children(agents.newest, store.agents, store.memories, writer.clock)
    notices = BudgetNotices(metrics.budget_reached)
    reservations = Reservations(store.budgets, writer.clock, writer.prices, notices)
    trying = (settings.model_retries, metrics.model_requested, Breakers(writer.clock))
    sight = Sight(store.images, models)
    model_steps = ModelSteps(models, writer, waits, children, reservations, *trying, sight)
    browsers = SegmentBrowsers(store.executions, seal, writer.clock)
    tool_calls = ToolCalls(
        tools,
        writer,
        unwanted.contexts,
        reservations,
        browsers,
        Inputs(store.waits, writer.clock),
        settings.parallel_calls,
    )
    pending_calls = PendingCalls(store, writer, waits, children)
    code_agents = CodeAgentRunner(store, model_steps, tool_calls, writer, code or CodeFunctions())
    histories = Histories(store.conversations)
    parts = (model_steps, tool_calls, writer, pending_calls, code_agents)
    return Runner(store, *parts, agents.known, histories, unwanted, settings.max_tries)


def _leadership(
    settings: Settings, driver: Driver, failures: Failures, *, worker: bool
) -> Leadership:
    """Return who leads maintenance: on SQLite this process, on Postgres one of all."""
    if not settings.on_postgres:
        return SoleProcess()
    seconds = lease_seconds(settings.takeover_seconds)
    return LeaseLeader(Leases(driver), failures, works=worker, seconds=seconds)


def _maintenance(
    settings: Settings,
    store: Store,
    own: Iterable[MaintenanceDuty],
    leadership: Leadership,
    last_resort: LastResort,
    clock: Clock,
    metrics: Metrics,
) -> MaintenanceRunner:
    """Return the runner of all maintenance duties; `own`: those with something to measure."""
    failures = metrics.failures
    schedules = DueSchedules(
        store.schedules, clock, failures, *new_runs(settings), metrics.scheduled
    )
    duties = (
        DueWaits(store.waits, last_resort, clock, failures).duty,
        DueTasks(store.tasks, clock, failures).duty,
        IdempotencyKeys(store.idempotency, clock).duty,
        ErasedMemory(store.memories).duty,
        UsageHours(store.usage, clock).duty,
        BudgetLevels(store.budgets, clock, BudgetNotices(metrics.budget_reached)).duty,
        LostRequests(store.request_charges, clock).duty,
        *schedules.duties,
        *own,
    )
    return MaintenanceRunner(duties, leadership, clock, failures, metrics.maintained)


def _committed(
    streams: Streams,
    metrics: Metrics,
    known: KnownAgents,
    segments: Segments,
    unwanted: UnwantedCalls,
) -> Callable[[Committed], None]:
    """Return the callback for commits; other processes count theirs themselves."""
    activity = Activity(known)

    def committed(commit: Committed) -> None:
        streams.committed(commit)
        if commit.execution is not None:
            metrics.committed(commit, known.seen(commit.execution))
            activity.committed(commit)
            unwanted.committed(commit, runs=segments.runs(commit.execution_id))

    return committed


def _engine(
    settings: Settings,
    store: Store,
    segments: Segments,
    jobs: "Jobs | None",
    clock: Clock,
    failures: Failures,
    *,
    worker: bool,
) -> Engine:
    if jobs is None:
        if not worker:
            raise Misconfigured(
                "SQLite takes one process, which serves and works. Many workers need Postgres: "
                "OUTLAST_DATABASE_URL=postgresql://USER:PASSWORD@HOST/DATABASE"
            )
        return InlineEngine(store, segments, clock, failures, concurrency=settings.concurrency)
    from outlast.engine.dispatch.procrastinate.engine import ProcrastinateEngine

    return ProcrastinateEngine(
        store,
        segments,
        queue_of(settings),
        jobs,
        clock,
        concurrency=settings.concurrency if worker else 0,
        takeover_seconds=settings.takeover_seconds,
        failures=failures,
    )
