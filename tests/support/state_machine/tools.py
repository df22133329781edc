"""The tools of a state machine of moves: with effects, for the client, with input, and tasks."""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import orjson

from outlast import ToolFailed, agent_tool
from outlast.agents.port import InputNeeded, ToolContext, WaitFor
from outlast.agents.tools.arguments import Arguments
from outlast.agents.tools.client_kind import client_tool, is_client_tool
from outlast.model.agent import AgentSpec, Effect, Expiry, ToolSpec
from outlast.model.client_call import ClientTool
from outlast.model.input_request import Answers, InputRequest
from outlast.model.wait import WaitKind
from tests.support.state_machine.gates import Gates
from tests.support.tools import tool

EXPIRES = 60
TOOLS = (
    tool("look"),
    tool("put", Effect.IDEMPOTENT),
    tool("wipe", Effect.DESTRUCTIVE),
    tool("pay", Effect.DESTRUCTIVE, approval=True),
    tool("tip", Effect.DESTRUCTIVE, approval=True, expiry=Expiry(EXPIRES)),
    tool("break"),
    tool("quiz"),
    tool("sign", Effect.DESTRUCTIVE),
    tool("book", Effect.DESTRUCTIVE, approval=True),
    client_tool("locate", timeout=EXPIRES),
)
DECLARED = (ClientTool("show", "Does show.", {"type": "object"}, EXPIRES),)
"""Tools that requests declare, whose client runs them as it runs `locate`."""
BY_CLIENT = frozenset({"locate", "show"})
NEEDING = frozenset({"quiz", "sign", "book"})
"""Tools whose server needs a person's input before they have their effect.

A gated call of one is held open by the server while it waits for input.
"""
FAR = ToolSpec("far", "Lists.", {"type": "object"}, other={"mcp": {"lists": True}})
WORK = tool("far__work", Effect.DESTRUCTIVE)
"""A tool that this source lists: its server makes a task of each call."""
NAMES = tuple(one.name for one in (*TOOLS, WORK))
CALLEES = (
    agent_tool("agent", name="helper"),
    agent_tool("coder", name="colleague"),
    agent_tool("agent", name="hire", approval=True),
)
"""Tools that are agents: each call is an execution with a plot of its own."""
HELPERS = tuple(one.name for one in CALLEES)
ASKING = frozenset(one.name for one in TOOLS if one.approval)
DESTRUCTIVE = frozenset(o.name for o in (*TOOLS, WORK) if o.effect is Effect.DESTRUCTIVE)


@dataclass(frozen=True, slots=True)
class Run:
    """A tool's effect."""

    call_id: str
    name: str
    arguments: dict[str, Any]
    said: int
    """How much people had said by then."""


class PlotTools:
    """The tools; remembers every effect, and what people have said, in their order."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self.runs: list[Run] = []
        self.said: list[tuple[str, str]] = []
        """(execution or call, what), written before it takes effect."""
        self.held = Counter[str]()
        """How many calls are held open for input, by plot."""
        self._tasks = count(1)
        self.given_up = set[int]()
        """Tasks whose results are not wanted any more."""
        self.wrong: list[AssertionError] = []
        """What calls have found; an agent reads their errors as those of tools."""

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        try:
            return await self._call(spec, arguments, context)
        except AssertionError as error:
            self.wrong.append(error)
            raise

    async def _call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        if spec.name == WORK.name:
            return await self._work(arguments, context)
        if spec.name in NEEDING:
            await self._input(arguments, context)
        self.runs.append(Run(context.tool_call_id, spec.name, arguments, len(self.said)))
        if arguments["gated"] and spec.name not in NEEDING:
            await self._gates.wait(arguments["plot"])
        if spec.name == "break":
            raise ToolFailed("It is broken.")
        return {"did": arguments["number"]}

    async def _work(self, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Wait for a task, which is made once; every second one needs input on its way."""
        handle, given = context.handle, context.given
        if handle is None:
            assert given is None
            assert context.defer is not None
            self.runs.append(Run(context.tool_call_id, WORK.name, arguments, len(self.said)))
            handle = {"task": next(self._tasks)}
            await context.defer(handle)
        assert handle["task"] not in self.given_up
        if given is not None:
            _value(given.answers)
        elif arguments["number"] % 2:
            raise InputNeeded(InputRequest({"q": _QUESTION}, of_task=True))
        if arguments["gated"]:
            await self._gates.wait(arguments["plot"])
        assert handle["task"] not in self.given_up
        return {"did": arguments["number"]}

    async def _input(self, arguments: dict[str, Any], context: ToolContext) -> None:
        """Return once a call has all its input; every second call needs it twice."""
        times = 1 + arguments["number"] % 2
        if not arguments["gated"]:
            _require_input(context, times)
            return
        assert context.ask is not None
        for _ in range(times):
            self.held[arguments["plot"]] += 1
            try:
                _value(await context.ask(InputRequest({"q": _QUESTION}, live=True)))
            finally:
                self.held[arguments["plot"]] -= 1

    def waits_for(self, spec: ToolSpec, _arguments: dict[str, Any]) -> WaitFor | None:
        if is_client_tool(spec):
            return WaitFor(WaitKind.CLIENT, spec.timeout)
        return WaitFor(WaitKind.CHILD) if spec.name in HELPERS else None

    async def asks(self, spec: ToolSpec, arguments: dict[str, Any]) -> bool:
        raise AssertionError("no tool of these has a predicate")

    connections = 0

    def give_up(self, source: ToolSpec, handle: dict[str, Any], context: ToolContext) -> None:
        assert source == FAR
        self.given_up.add(handle["task"])

    async def listed(self, spec: AgentSpec, _context: ToolContext) -> AgentSpec:
        return replace(spec, tools=(*spec.tools, WORK)) if spec.sources else spec

    def check(self, spec: ToolSpec, arguments: dict[str, Any]) -> None:
        Arguments().check_edited(spec.parameters, arguments)

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


def _require_input(context: ToolContext, times: int) -> None:
    """Raise InputNeeded before the call has all its input.

    Its server's state is the call and what it was given so far.
    """
    given, state = context.given, [context.tool_call_id]
    if given is not None:
        state = orjson.loads(given.request.state or "")
        assert state[0] == context.tool_call_id
        state.append(_value(given.answers))
    if len(state) <= times:
        request = InputRequest({"q": _QUESTION}, orjson.dumps(state).decode(), rounds=len(state))
        raise InputNeeded(request)


def _value(answers: Answers) -> Any:
    """Return what a person gave. Raises ToolFailed where there is none."""
    answer = answers["q"]
    if answer["action"] != "accept":
        raise ToolFailed(f"It was answered with {answer['action']}.")
    return answer["content"]["value"]


_QUESTION = {
    "message": "Which one?",
    "mode": "form",
    "schema": {"type": "object", "properties": {"value": {"type": "integer"}}},
}
