"""Decides approvals, and lists open ones."""

from dataclasses import replace

from outlast.agents.port import ToolContext, Tools
from outlast.model.agent import AgentSpec, ToolSpec
from outlast.model.clock import Clock
from outlast.model.error import ApprovalNotFound, InvalidArguments, InvalidField, OutlastError
from outlast.model.execution import TERMINAL, Execution
from outlast.model.ids import EXECUTION, parse
from outlast.model.json_depth import DEEPEST, is_too_deep
from outlast.model.wait import MAX_REASON, NOT_GIVEN, Decision, Wait, WaitKind, approvals
from outlast.model.workspace import Principal, Scope
from outlast.store.store import Store
from outlast.store.waits.awaited import AwaitedPage
from outlast.store.waits.decide import DecideWait
from outlast.store.waits.store import PendingPage

__all__ = ["NOT_GIVEN", "Approvals", "AwaitedPage", "Decision", "PendingPage", "Wait"]


class Approvals:
    """The approvals of a workspace."""

    def __init__(self, store: Store, tools: Tools, clock: Clock) -> None:
        self._store = store
        self._tools = tools
        self._clock = clock

    async def decide(
        self, principal: Principal, execution_id: str, tool_call_id: str, decision: Decision
    ) -> Wait:
        """Decide one approval; the first decision wins, and repeating it is accepted.

        A child's approval may be decided at the child, or at any execution above it.

        Raises ExecutionNotFound, ApprovalNotFound, Conflict (another decision stands, the execution
        has ended), InvalidArguments, InvalidField, InvalidId, MissingScope.
        """
        principal.require(Scope.APPROVALS_WRITE)
        _check_reason(decision)
        found = parse(EXECUTION, execution_id)
        found = await self._check(principal.workspace_id, found, tool_call_id, decision)
        return await self._store.waits.decide(
            DecideWait(
                principal.workspace_id,
                found,
                tool_call_id,
                self._clock.now(),
                decision,
                principal.key_id,
            )
        )

    async def pending(self, principal: Principal, page: PendingPage) -> tuple[list[Wait], bool]:
        """Return open approvals of live executions, newest first, and whether there are more."""
        principal.require(Scope.EXECUTIONS_READ)
        found = await self._store.waits.pending(principal.workspace_id, page)
        return found[: page.limit], len(found) > page.limit

    async def awaited(self, principal: Principal, page: AwaitedPage) -> tuple[list[Wait], bool]:
        """Return open approvals, inputs and calls of clients, the first to expire first.

        With whether there are more.
        """
        principal.require(Scope.EXECUTIONS_READ)
        found = await self._store.waits.awaited(principal.workspace_id, page)
        return found[: page.limit], len(found) > page.limit

    async def open_of(self, principal: Principal, execution: Execution) -> list[Wait]:
        """Return what a live execution, and all that it has called, waits for of these."""
        principal.require(Scope.EXECUTIONS_READ)
        if execution.status in TERMINAL or not execution.segment:
            return []
        below = execution.children > 0
        return await self._store.waits.open(principal.workspace_id, execution.id, below=below)

    async def one(self, principal: Principal, execution_id: str, tool_call_id: str) -> Wait | None:
        """Return the newest wait of a call, decided or not; None if there is none that stands."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._store.waits.one(principal.workspace_id, execution_id, tool_call_id)

    async def _check(
        self, workspace_id: str, execution_id: str, tool_call_id: str, decision: Decision
    ) -> str:
        """Check a decision against the approval, by the agent's version of the execution.

        Return the id of the execution whose approval it is.
        """
        execution = await self._store.executions.get(workspace_id, execution_id)
        requested = approvals(await self._store.waits.of(workspace_id, execution_id))
        approval = next((a for a in requested if a.tool_call_id == tool_call_id), None)
        if approval is None and execution.children:
            below = await self._store.waits.below(workspace_id, execution_id, tool_call_id)
            approval = below if below is not None and below.is_approval else None
            if approval is not None:
                execution = await self._store.executions.get(workspace_id, approval.execution_id)
        if approval is None or approval.superseded:
            raise ApprovalNotFound
        if decision.has_result:
            _check_result(approval, decision)
        if decision.parameters is None:
            return execution.id
        if not decision.approved or decision.has_result:
            raise InvalidField("Only a call that is to run is edited.", param="parameters")
        agent = await self._store.agents.version(
            workspace_id, execution.agent_id, execution.agent_version
        )
        tool = await self._tool(agent.spec, approval)
        if tool is None:
            raise InvalidArguments(f"The agent has no tool {approval.name!r}.", param="parameters")
        self._tools.check(tool, decision.parameters)
        return execution.id

    async def _tool(self, spec: AgentSpec, approval: Wait) -> ToolSpec | None:
        """Return the tool of an approval. Raises InvalidArguments if its source cannot list it."""
        source = spec.source_of(approval.name)
        if source is None:
            return spec.tool(approval.name)
        context = ToolContext("", approval.execution_id, approval.tool_call_id)
        try:
            listed = await self._tools.listed(replace(spec, tools=(source,)), context)
        except OutlastError as error:
            text = f"The arguments cannot be checked now: {error.message}"
            raise InvalidArguments(text, param="parameters") from error
        return listed.tool(approval.name)


def _check_reason(decision: Decision) -> None:
    if decision.reason is not None and len(decision.reason) > MAX_REASON:
        raise InvalidField(f"reason: at most {MAX_REASON} characters.", param="reason")


def _check_result(approval: Wait, decision: Decision) -> None:
    if approval.kind is not WaitKind.UNKNOWN_OUTCOME:
        raise InvalidField("Only an unknown outcome takes a result.", param="result")
    if not decision.approved:
        raise InvalidField("A call that has a result has run: approved is true.", param="approved")
    if is_too_deep(decision.result):
        raise InvalidField(f"The result is nested deeper than {DEEPEST} levels.", param="result")
