"""The kind `client`: a tool that the client runs, named by an agent or declared by a request.

A call waits for the client's result (see `services.client_calls`), so the runner is never reached.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BeforeValidator

from outlast.agents.port import ToolContext, WaitFor
from outlast.agents.problem import Problem, keys
from outlast.agents.tools.kind import Draft, Resources, ToolEntry, ToolKind
from outlast.model.agent import AgentSpec, ToolSpec
from outlast.model.client_call import (
    DEFAULT_SECONDS,
    MAX_SECONDS,
    MAX_TOOLS,
    MAX_TOOLS_BYTES,
    ClientTool,
)
from outlast.model.error import InvalidField, ToolFailed
from outlast.model.text import storable
from outlast.model.wait import WaitKind

KEY: Final = "client"
_NO_ARGUMENTS: Final[dict[str, Any]] = {"type": "object", "properties": {}}
_UNNAMED: Final = "unnamed"


def client_tool(
    name: str,
    description: str = "",
    parameters: Mapping[str, Any] | None = None,
    *,
    timeout: float = DEFAULT_SECONDS,
) -> ToolSpec:
    """Return a tool that the client runs, within `timeout` seconds.

    `parameters` is the JSON Schema of its arguments; None: it takes none.
    """
    schema = _NO_ARGUMENTS if parameters is None else dict(parameters)
    return ToolSpec(name, description, schema, timeout=timeout, other={KEY: True})


def is_client_tool(tool: ToolSpec) -> bool:
    """Whether the client runs the tool."""
    return KEY in tool.other


def with_client_tools(spec: AgentSpec, tools: Sequence[ClientTool]) -> tuple[ToolSpec, ...]:
    """Return an agent's tools and those that its execution's request has declared."""
    declared = (
        client_tool(one.name, one.description, one.parameters, timeout=one.timeout) for one in tools
    )
    return (*spec.tools, *(tool for tool in declared if spec.tool(tool.name) is None))


def storable_tool(tool: ClientTool) -> ClientTool:
    """Return the tool with texts that can be stored."""
    schema = storable(tool.parameters)
    return replace(tool, description=storable(tool.description), parameters=schema)


def require_client_tools(spec: AgentSpec, tools: Sequence[ClientTool], param: str) -> None:
    """Raise InvalidField, naming the place, unless a request may declare these tools."""
    from outlast.agents.check import tool_problems

    if len(tools) > MAX_TOOLS:
        raise InvalidField(f"A request declares {MAX_TOOLS} tools at most.", param=param)
    names = {tool.name for tool in spec.tools}
    for index, tool in enumerate(tools):
        at = f"{param}.{index}"
        if tool.name in names:
            raise InvalidField(
                f"There is a tool {tool.name[:80]!r} already; take another name.",
                param=f"{at}.name",
            )
        names.add(tool.name)
        made = client_tool(tool.name, tool.description, tool.parameters, timeout=tool.timeout)
        for problem in tool_problems(made):
            path = keys(tuple(key for key in problem.path if key != KEY))
            raise InvalidField(f"{path}: {problem.text}.", param=f"{at}.{path}")
    size = len(orjson.dumps(tools))
    if size > MAX_TOOLS_BYTES:
        raise InvalidField(
            f"These tools are {size} bytes, more than {MAX_TOOLS_BYTES}.", param=param
        )


class ClientRunner:
    """Refuses: a call of a client's tool waits for the client instead."""

    def __init__(self, _resources: Resources) -> None:
        pass

    async def call(self, spec: ToolSpec, _arguments: dict[str, Any], _context: ToolContext) -> Any:
        raise ToolFailed(f"The tool {spec.name} is run by the client only.")

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


def _is_true(value: Any) -> Any:
    if value is not True:
        raise ValueError("must be true; remove the key from a tool that runs otherwise")
    return value


def _make(entry: ToolEntry, _given: bool, draft: Draft) -> ToolSpec:
    if entry.name is None:
        draft.wrong((), "a client's tool needs the key name")
    return client_tool(entry.name or _UNNAMED, parameters=entry.parameters)


def _problems(spec: ToolSpec) -> Iterator[Problem]:
    if spec.approval is not False:
        yield Problem((), "a client's tool takes no approval: the client asks before it runs it")
    if spec.timeout > MAX_SECONDS:
        yield Problem(("timeout",), f"at most {MAX_SECONDS:.0f} seconds, a year")


def _waits_for(spec: ToolSpec, _arguments: dict[str, Any]) -> WaitFor:
    return WaitFor(WaitKind.CLIENT, spec.timeout)


CLIENT: Final = ToolKind(
    KEY,
    Annotated[Literal[True], BeforeValidator(_is_true)],
    _make,
    ClientRunner,
    problems=_problems,
    waits_for=_waits_for,
)
"""A tool that the client runs."""
