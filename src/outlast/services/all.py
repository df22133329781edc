"""All services, as the rooms and the command line get them."""

from dataclasses import dataclass

from outlast.agents.port import Tools
from outlast.agents.prices.price_list import PriceList
from outlast.engine.dispatch.port import Engine
from outlast.engine.unwanted_calls import UnwantedCalls
from outlast.model.clock import Clock
from outlast.seal import Seal
from outlast.services.agents import Agents
from outlast.services.approvals import Approvals
from outlast.services.budgets import Budgets
from outlast.services.client_calls import ClientCalls
from outlast.services.conversations import Conversations
from outlast.services.executions import Executions
from outlast.services.images import Images
from outlast.services.keys import Keys
from outlast.services.lifecycle import Lifecycle
from outlast.services.lists import Lists
from outlast.services.memory import Memory
from outlast.services.prices import ModelPrices
from outlast.services.records import Records
from outlast.services.saved_views import SavedViews
from outlast.services.schedules import Schedules, new_runs
from outlast.services.sessions import Sessions
from outlast.services.step_pages import StepPages
from outlast.services.system import System
from outlast.services.tasks import Tasks
from outlast.services.tickets import Tickets
from outlast.services.usage import Usage
from outlast.services.workspaces import Workspaces
from outlast.settings import Settings
from outlast.store.store import Store
from outlast.stream import Streams


@dataclass(frozen=True, slots=True)
class Services:
    """One of each."""

    executions: Executions
    lists: Lists
    conversations: Conversations
    agents: Agents
    keys: Keys
    workspaces: Workspaces
    clock: Clock
    approvals: Approvals
    tickets: Tickets
    tasks: Tasks
    records: Records
    usage: Usage
    schedules: Schedules
    budgets: Budgets
    memory: Memory
    sessions: Sessions
    client_calls: ClientCalls
    system: System
    saved_views: SavedViews
    step_pages: StepPages
    images: Images
    prices: ModelPrices

    @classmethod
    def over(
        cls,
        settings: Settings,
        store: Store,
        engine: Engine,
        streams: Streams,
        agents: Agents,
        clock: Clock,
        seal: Seal,
        tools: Tools,
        memory: Memory,
        unwanted: UnwantedCalls,
        *,
        prices: PriceList,
    ) -> "Services":
        """Return the services of a server; each gets what it uses."""
        keys = Keys(store.keys, clock)
        workspaces = Workspaces(store.workspaces, clock, settings.plans.default)
        indexed, most = settings.metadata_keys, settings.max_queued_turns
        lifecycle = Lifecycle(store, engine, streams, clock, unwanted)
        executions = Executions(store, lifecycle, streams, agents, clock, seal, indexed, most)
        return cls(
            executions=executions,
            lists=Lists(store, executions, agents.known),
            conversations=Conversations(store, executions, agents, clock),
            agents=agents,
            keys=keys,
            workspaces=workspaces,
            clock=clock,
            approvals=Approvals(store, tools, clock),
            tickets=Tickets(store.executions, seal, clock, keys),
            tasks=Tasks(store, executions, agents, clock),
            records=Records(store.records),
            usage=Usage(store.usage, clock),
            schedules=Schedules(store, agents, clock, *new_runs(settings)),
            budgets=Budgets(store, keys, clock),
            memory=memory,
            sessions=Sessions(store.idempotency, seal, clock, keys),
            client_calls=ClientCalls(store, clock),
            system=System(settings, engine, workspaces, clock),
            saved_views=SavedViews(store.saved_views, clock),
            step_pages=StepPages(store),
            images=Images(store.images),
            prices=ModelPrices(settings.prices, prices, clock),
        )
