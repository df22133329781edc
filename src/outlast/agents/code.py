"""Code agents: an async function of the operator's own takes the place of the server's loop.

`async def run(ctx: Context, input: str)` is called with what a segment gives it, and found again by
`module:function`, as Python tools are.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from outlast.agents.tools.python import import_name
from outlast.model.agent import ToolSpec
from outlast.model.error import Misconfigured
from outlast.model.message import AssistantMessage, Message

_PARAMETERS = 2


class Context(Protocol):
    """What a code agent's function works with; one call at a time, in the order they were made."""

    @property
    def execution_id(self) -> str:
        """The execution that the function runs for."""
        ...

    @property
    def state(self) -> dict[str, Any]:
        """What the newest checkpoint says; {} before the first."""
        ...

    @property
    def history(self) -> tuple[Message, ...]:
        """The messages of the conversation's earlier turns."""
        ...

    @property
    def session(self) -> dict[str, Any]:
        """The conversation's session values."""
        ...

    @property
    def user(self) -> str | None:
        """The caller's end user, where one was named."""
        ...

    @property
    def metadata(self) -> dict[str, Any]:
        """What whoever started the execution noted with it."""
        ...

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """The agent's tools, for `model(…, tools=ctx.tools)`."""
        ...

    async def model(
        self,
        messages: str | Sequence[Message] | None = None,
        *,
        instructions: str | None = None,
        tools: Iterable[str | ToolSpec] = (),
        model: str | None = None,
    ) -> AssistantMessage:
        """Ask a model and answer its message; its text streams while it comes.

        `messages` are a prompt or a conversation; without them the earlier turns and the input. The
        model and its instructions are the agent's where none are given. `tools` are what it may
        name in its answer; none is called unless the function calls it.
        Raises Upstream and its kin, and Misconfigured where there is no such model.
        """
        ...

    async def tool(self, name: str, /, **arguments: Any) -> Any:
        """Call one of the agent's tools and answer its result; first a person decides, if it says.

        Raises ToolFailed with what the tool, or the person who denied it, said.
        """
        ...

    async def checkpoint(self, state: dict[str, Any], label: str | None = None) -> None:
        """From here the function starts again, with this state: a JSON object that is not empty."""
        ...

    async def emit(self, name: str, data: Any = None) -> None:
        """Tell whoever follows the execution; `data` is JSON."""
        ...


CodeFunction: TypeAlias = Callable[[Context, str], Awaitable[Any]]


class CodeFunctions:
    """Finds code agents' functions; those given at the start before anything is imported."""

    def __init__(self, functions: Mapping[str, CodeFunction] | None = None) -> None:
        self._functions = dict(functions or {})

    def use(self, functions: Mapping[str, CodeFunction]) -> None:
        """Find these from now on, and import anew what is not among them."""
        self._functions = dict(functions)

    def find(self, reference: str) -> CodeFunction:
        """The function of that reference. Raises Misconfigured where this process has none."""
        known = self._functions.get(reference)
        if known is None:
            try:
                found = import_name(reference)
                known = require_code(getattr(found, "function", None) or found, reference)
            except Misconfigured as error:
                problem = f"This worker has no function for the agent: {error.message}."
                raise Misconfigured(problem) from error
            self._functions[reference] = known
        return known


def require_code(found: Any, reference: str) -> CodeFunction:
    """The function, where it can be an agent's loop. Raises Misconfigured."""
    if not inspect.iscoroutinefunction(found):
        raise Misconfigured(f"{reference} is not an async function")
    given = [p for p in inspect.signature(found).parameters.values() if p.default is p.empty]
    if len(given) != _PARAMETERS or any(p.kind is p.KEYWORD_ONLY for p in given):
        raise Misconfigured(f"{reference} takes the context and the input: (ctx, input)")
    function: CodeFunction = found
    return function
