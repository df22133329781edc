"""All services, as the rooms and the command line get them."""

from dataclasses import dataclass

from outlast.model.clock import Clock
from outlast.services.agents import Agents
from outlast.services.approvals import Approvals
from outlast.services.budgets import Budgets
from outlast.services.client_calls import ClientCalls
from outlast.services.conversations import Conversations
from outlast.services.executions import Executions
from outlast.services.keys import Keys
from outlast.services.lists import Lists
from outlast.services.memory import Memory
from outlast.services.records import Records
from outlast.services.schedules import Schedules
from outlast.services.sessions import Sessions
from outlast.services.system import System
from outlast.services.tasks import Tasks
from outlast.services.tickets import Tickets
from outlast.services.usage import Usage


@dataclass(frozen=True, slots=True)
class Services:
    """One of each."""

    executions: Executions
    lists: Lists
    conversations: Conversations
    agents: Agents
    keys: Keys
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
