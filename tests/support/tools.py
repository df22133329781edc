"""Tools that are functions of a test, and agents and calls with them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from outlast.agents.port import ToolContext, WaitFor
from outlast.agents.tools.arguments import Arguments
from outlast.model.agent import AgentSpec, Effect, ToolSpec
from outlast.model.error import OutlastError
from outlast.model.message import ToolCall


class FakeTools:
    """Tools as plain functions of their arguments; counts calls by their idempotency key.

    One that is a WaitFor runs elsewhere.
    """

    def __init__(self, **functions: Callable[[dict[str, Any]], Any] | WaitFor) -> None:
        self._functions = functions
        self.calls: Counter[str] = Counter()
        self.order: list[str] = []
        self.context: ToolContext | None = None

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        self.calls[context.tool_call_id] += 1
        self.order.append(spec.name)
        self.context = context
        result = self._function(spec.name)(arguments)
        if isinstance(result, OutlastError):
            raise result
        return await result if asyncio.iscoroutine(result) else result

    async def asks(self, spec: ToolSpec, arguments: dict[str, Any]) -> bool:
        return bool(self._function(str(spec.approval))(arguments))

    def waits_for(self, spec: ToolSpec, _arguments: dict[str, Any]) -> WaitFor | None:
        found = self._functions.get(spec.name)
        return found if isinstance(found, WaitFor) else None

    connections = 0

    def give_up(self, source: ToolSpec, handle: dict[str, Any], context: ToolContext) -> None:
        raise AssertionError("no call of these has a handle")

    async def listed(self, spec: AgentSpec, _context: ToolContext) -> AgentSpec:
        return spec

    def check(self, spec: ToolSpec, arguments: dict[str, Any]) -> None:
        Arguments().check_edited(spec.parameters, arguments)

    def _function(self, name: str) -> Callable[[dict[str, Any]], Any]:
        found = self._functions[name]
        assert not isinstance(found, WaitFor)
        return found

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


def tool(name: str, effect: Effect = Effect.READ_ONLY, **more: Any) -> ToolSpec:
    return ToolSpec(name, f"Does {name}.", {"type": "object"}, effect, **more)


def spec(*tools: ToolSpec, **more: Any) -> AgentSpec:
    return AgentSpec("agent", "actor", "Be kind.", tools=tools, **more)


def call(number: int, name: str, **parameters: Any) -> ToolCall:
    return ToolCall(f"tc_{number:026d}", name, parameters)
