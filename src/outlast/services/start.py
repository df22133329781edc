"""Request to start an execution, and its result."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from outlast.model.agent import Agent
from outlast.model.client_call import ClientTool
from outlast.model.execution import Budget, Execution, OnBusy
from outlast.model.memory import MemoryAccess
from outlast.model.task import Task
from outlast.store.executions.values import Cut
from outlast.store.idempotency import Idempotency


@dataclass(frozen=True, slots=True)
class StartExecution:
    """A request to run an agent on an input."""

    input: str
    conversation_id: str | None = None
    session: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    on_busy: OnBusy = OnBusy.ENQUEUE
    idempotency: Idempotency | None = None
    instructions: str = ""
    """For this execution alone, appended to the agent's own."""
    chat_id: str | None = None
    """The client's id of the chat that it belongs to."""
    format: str | None = None
    """Stream format for clients that name none."""
    forwarded_headers: dict[str, str] = field(default_factory=dict, repr=False)
    """Sent with its tool calls."""
    user: str | None = None
    """The caller's end user; None: the conversation's."""
    task: Callable[[str, int], Task] | None = field(default=None, repr=False)
    """Makes the task stored with the execution, given its id and the time."""
    message_id: str | None = None
    """The client's id of the message that is the input."""
    cut: Cut | None = None
    """Turns of the conversation that it replaces."""
    memory_stores: tuple[MemoryAccess, ...] | None = None
    """Memory stores that it gets; None: the agent's."""
    client_tools: tuple[ClientTool, ...] = ()
    """Tools besides the agent's own, which the client runs."""


@dataclass(frozen=True, slots=True)
class Started:
    """Result of starting an execution."""

    execution: Execution
    agent: Agent
    replayed: bool = False
    """The idempotency key or message was known; the execution is that of the first request."""
    answer: str | None = None
    """The first request's response, as stored with `keep_answer`."""
