"""What the log shows of the calls without a result once an execution is resumed.

The event of the resume voids what the log has shown of them: clients drop it.
"""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import select

from outlast.model.event import ChildStarted, Event, ToolStarted
from outlast.model.execution import Execution
from outlast.model.message import ToolCall
from outlast.model.steps import Calls
from outlast.model.wait import Wait
from outlast.store.agents import agents
from outlast.store.driver import Part, Query, Statement
from outlast.store.executions.statements import OWNED
from outlast.store.executions.tables import executions
from outlast.store.waits.above import open_below, requested
from outlast.store.waits.decide import answered, resolved

LIVE_CHILDREN_OF: Final = Statement(
    select(executions.c.tool_call_id, executions.c.id, agents.c.name)
    .join(agents, agents.c.id == executions.c.agent_id)
    .where(executions.c.parent_id == OWNED, executions.c.completed_at.is_(None))
)
"""Selects the live children of an execution, each with its call and its agent's name."""


def shown_again(execution: Execution, calls: Calls, waits: dict[str, Wait]) -> Part[list[Event]]:
    """Return the events for the calls without a result, and for a root what is requested below."""
    children: dict[str, tuple[str, str]] = {}
    if execution.children:
        of = {"workspace": execution.workspace_id, "id": execution.id}
        rows = yield Query(LIVE_CHILDREN_OF, of)
        children = {call_id: (child_id, agent) for call_id, child_id, agent in rows}
    events: list[Event] = []
    for number, call in calls:
        events += _call_events(number, call, waits)
        wait = waits.get(call.id)
        if wait is not None and wait.is_open and call.id in children:
            events.append(ChildStarted(number, call.id, *children[call.id]))
    return [*events, *(yield from open_below(execution))]


def _call_events(number: int, call: ToolCall, waits: dict[str, Wait]) -> Iterable[Event]:
    wait = waits.get(call.id)
    if wait is None or not wait.is_approval:
        arguments = call.parameters if wait is None else wait.arguments
        yield ToolStarted(number, call.id, call.name, arguments)
        if wait is not None and wait.is_client:
            yield requested(number, wait)
            if not wait.is_open:
                yield answered(wait)
        return
    yield requested(number, wait)
    if not wait.is_open:
        yield resolved(wait)
