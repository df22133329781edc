"""Decide approvals, and list those that wait."""

from outlast.agents.port import Tools
from outlast.model.approval import NOT_GIVEN, Approval, ApprovalKind, Decision
from outlast.model.clock import Clock
from outlast.model.error import InvalidField
from outlast.model.ids import EXECUTION, parse
from outlast.model.workspace import Principal, Scope
from outlast.store.port import Decide, PendingPage, Store

__all__ = ["NOT_GIVEN", "Approvals", "Decision", "PendingPage"]


class Approvals:
    """The approvals of a workspace."""

    def __init__(self, store: Store, tools: Tools, clock: Clock) -> None:
        self._store = store
        self._tools = tools
        self._clock = clock

    async def decide(
        self, principal: Principal, execution_id: str, tool_call_id: str, decision: Decision
    ) -> Approval:
        """Decide one approval; the first decision wins, and the same one again is no other.

        Raises ExecutionNotFound, ApprovalNotFound, Conflict (another decision stands, the execution
        has ended), InvalidArguments, InvalidField, InvalidId, MissingScope.
        """
        raise NotImplementedError

    async def pending(
        self, principal: Principal, page: PendingPage
    ) -> tuple[list[Approval], bool]:
        """Open approvals of live executions, newest first, and whether there are more."""
        raise NotImplementedError
