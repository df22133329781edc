"""Determines which calls of an answer wait instead of running, and for what."""

from dataclasses import dataclass, replace

from outlast.agents.port import Tools, WaitFor
from outlast.model.agent import AgentSpec, ToolSpec
from outlast.model.error import InvalidArguments
from outlast.model.message import ToolCall
from outlast.model.wait import Wait, WaitKind


@dataclass(frozen=True, slots=True)
class CallWaits:
    """Creates the waits of tool calls."""

    tools: Tools

    async def first(
        self, execution_id: str, spec: AgentSpec, number: int, call: ToolCall, at: int
    ) -> Wait | None:
        """Return what a new call waits for; None if it runs at once.

        A call is approved before it waits for anything else. Arguments that do not fit the tool's
        schema are an error for the model, and are shown to no person and no client.
        """
        tool = spec.tool(call.name)
        if tool is None or call.invalid is not None:
            return None
        waits_for = self.tools.waits_for(tool, call.parameters)
        if (tool.approval is False and waits_for is None) or not self._fits(tool, call):
            return None
        if await self._needs_approval(tool, call):
            return _approval(execution_id, tool, number, call, at)
        return None if waits_for is None else _wait(execution_id, waits_for, number, call, at)

    def behind_approval(
        self, spec: AgentSpec, number: int, call: ToolCall, approved: Wait, at: int
    ) -> Wait | None:
        """Return what an approved call waits for; None if it runs."""
        tool = spec.tool(call.name)
        if tool is None or call.invalid is not None:
            return None
        waits_for = self.tools.waits_for(tool, approved.arguments)
        if waits_for is None:
            return None
        return replace(
            _wait(approved.execution_id, waits_for, number, call, at),
            parameters=approved.parameters,
            effective_parameters=approved.effective_parameters,
            reason=approved.note or None,
            begun_at=at,
        )

    def _fits(self, tool: ToolSpec, call: ToolCall) -> bool:
        try:
            self.tools.check(tool, call.parameters)
        except InvalidArguments:
            return False
        return True

    async def _needs_approval(self, tool: ToolSpec, call: ToolCall) -> bool:
        if isinstance(tool.approval, bool):
            return tool.approval
        return await self.tools.asks(tool, call.parameters)


def _approval(execution_id: str, tool: ToolSpec, number: int, call: ToolCall, at: int) -> Wait:
    expiry = tool.expiry
    return Wait(
        execution_id,
        call.id,
        WaitKind.APPROVAL,
        call.name,
        call.parameters,
        at,
        step=number,
        due_at=None if expiry is None else at + round(expiry.seconds * 1000),
        due_approved=expiry is not None and expiry.approve,
    )


def _wait(execution_id: str, waits_for: WaitFor, number: int, call: ToolCall, at: int) -> Wait:
    seconds = waits_for.seconds
    return Wait(
        execution_id,
        call.id,
        waits_for.kind,
        call.name,
        call.parameters,
        at,
        step=number,
        due_at=None if seconds is None else at + round(seconds * 1000),
    )
