"""The store: all subjects over one driver."""

from dataclasses import dataclass

from outlast.model.retention import Plans
from outlast.store.agents import AgentStore
from outlast.store.blobs import ImageStore
from outlast.store.budgets.store import BudgetStore
from outlast.store.checkpoints import CheckpointStore
from outlast.store.conversations.store import ConversationStore
from outlast.store.driver import Driver
from outlast.store.executions.store import ExecutionStore
from outlast.store.idempotency import IdempotencyStore
from outlast.store.keys import KeyStore
from outlast.store.listeners import Listeners
from outlast.store.memory.store import Memories
from outlast.store.memory.vectors import Vectors
from outlast.store.records import RecordStore
from outlast.store.request_charges import RequestChargeStore
from outlast.store.saved_views import SavedViewStore
from outlast.store.schedules.store import ScheduleStore
from outlast.store.tasks.store import TaskStore
from outlast.store.usage import UsageStore
from outlast.store.waits.store import WaitStore
from outlast.store.workspaces import WorkspaceStore


@dataclass(frozen=True, slots=True)
class Store:
    """Durable state, by subject."""

    driver: Driver
    agents: AgentStore
    budgets: BudgetStore
    checkpoints: CheckpointStore
    conversations: ConversationStore
    executions: ExecutionStore
    idempotency: IdempotencyStore
    images: ImageStore
    keys: KeyStore
    memories: Memories
    records: RecordStore
    request_charges: RequestChargeStore
    schedules: ScheduleStore
    tasks: TaskStore
    usage: UsageStore
    vectors: Vectors
    saved_views: SavedViewStore
    waits: WaitStore
    workspaces: WorkspaceStore

    @classmethod
    def over(cls, driver: Driver, plans: Plans | None = None) -> "Store":
        """Return the store in this driver's database; `plans` are those of the settings."""
        return cls(
            driver,
            AgentStore(driver),
            BudgetStore(driver),
            CheckpointStore(driver),
            ConversationStore(driver),
            ExecutionStore(driver),
            IdempotencyStore(driver),
            ImageStore(driver),
            KeyStore(driver),
            Memories(driver, (plans or Plans()).memory),
            RecordStore(driver),
            RequestChargeStore(driver),
            ScheduleStore(driver),
            TaskStore(driver),
            UsageStore(driver),
            Vectors(driver),
            SavedViewStore(driver),
            WaitStore(driver),
            WorkspaceStore(driver),
        )

    def listen(self, listeners: Listeners) -> None:
        """Set the callbacks that run after each commit; called once, before open."""
        self.driver.listen(listeners)

    async def open(self) -> None:
        """Connect and migrate. Raises StoreLocked, Misconfigured."""
        await self.driver.open()

    async def close(self) -> None:
        """Commit what waits and disconnect."""
        await self.driver.close()

    async def ready(self) -> None:
        """Return when the database answers. Raises Overloaded."""
        await self.driver.ping()
