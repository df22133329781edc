"""The composition root: every part is made and joined here, and nowhere else."""

from dataclasses import dataclass

from outlast.agents.port import Models, Tools
from outlast.engine.asking import Asker
from outlast.engine.calling import Caller
from outlast.engine.expirer import Expirer
from outlast.engine.inline import InlineEngine
from outlast.engine.ledger import Ledger
from outlast.engine.runner import Runner
from outlast.engine.settling import Settler
from outlast.engine.textlog import TextLog
from outlast.metrics import Metrics
from outlast.model.clock import Clock, SystemClock
from outlast.seal import Seal
from outlast.services.agents import Agents
from outlast.services.all import Services
from outlast.services.approvals import Approvals
from outlast.services.conversations import Conversations
from outlast.services.executions import Executions
from outlast.services.keys import Keys
from outlast.services.tickets import Tickets
from outlast.settings import Settings
from outlast.store.port import Committed, Listeners, Store
from outlast.store.sql import SqlStore
from outlast.store.sqlite import SqliteDriver
from outlast.stream import Streams


@dataclass(frozen=True, slots=True)
class Core:
    """Everything below the rooms."""

    settings: Settings
    clock: Clock
    store: Store
    streams: Streams
    engine: InlineEngine
    models: Models
    tools: Tools
    services: Services
    metrics: Metrics
    expirer: Expirer
    seal: Seal

    async def open(self) -> None:
        """Find the secret and open the database. Raises StoreLocked, Misconfigured."""
        self.seal.prepare()
        await self.store.open()

    async def start(self, *, recover: bool = True) -> None:
        """Begin to run executions, with `recover` first those that an earlier process left."""
        await self.engine.start(recover=recover)
        self.expirer.start()

    async def warm_up(self) -> None:
        """Load what the first execution needs, so that it does not wait for it."""
        await self.models.warm_up()
        await self.tools.warm_up()

    async def close(self) -> None:
        """Let running steps end, then give everything back."""
        await self.expirer.stop()
        await self.engine.stop(self.settings.drain_seconds)
        await self.store.close()
        await self.models.close()
        await self.tools.close()


def build(
    settings: Settings,
    *,
    models: Models,
    tools: Tools,
    clock: Clock | None = None,
    store: Store | None = None,
) -> Core:
    """Join the parts; nothing is opened yet."""
    clock = clock or SystemClock()
    metrics = Metrics()
    store = store or SqlStore(SqliteDriver(settings.database_path, measured=metrics.wrote))
    texts = TextLog(store)
    ledger = Ledger(store, texts, clock)
    asker = Asker(models, ledger, tools, settings.model_retries, metrics.model_asked)
    seal = Seal(settings.secret_key, settings.secret_file, clock)
    runner = Runner(store, asker, Caller(tools, ledger, seal), ledger, Settler(store, ledger))
    engine = InlineEngine(store, runner, clock, concurrency=settings.concurrency)
    streams = Streams(store)

    def committed(commit: Committed) -> None:
        streams.committed(commit)
        metrics.committed(commit)

    store.listen(Listeners(committed, engine.runnable))
    metrics.watch(
        running=lambda: engine.running,
        backlog=lambda: engine.backlog,
        followers=lambda: streams.followers,
    )
    agents = Agents(store, clock)
    executions = Executions(store, engine, streams, agents, clock, seal)
    services = Services(
        executions,
        Conversations(store, executions, clock),
        agents,
        Keys(store, clock),
        clock,
        Approvals(store, tools, clock),
        Tickets(store, seal, clock),
    )
    expirer = Expirer(store, clock)
    return Core(
        settings, clock, store, streams, engine, models, tools, services, metrics, expirer, seal
    )
