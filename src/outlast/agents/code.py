"""Code agents: an operator's async function takes the place of the server's loop.

`async def run(ctx: Context, input: str)` is called in each segment; like Python tools, it is found
by `module:function`.
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
    """The context of a code agent's function; calls run one at a time, in order."""

    @property
    def execution_id(self) -> str:
        """The execution that the function runs for."""
        ...

    @property
    def state(self) -> dict[str, Any]:
        """State of the newest checkpoint; {} before the first."""
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
        """The caller's end user, if one was named."""
        ...

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata given when the execution was started."""
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
        """Call a model and return its message; its text is streamed meanwhile.

        `messages` are a prompt or a conversation; default: the earlier turns and the input. The
        model and its instructions default to the agent's. `tools` are those that the answer may
        name; none is called unless the function calls it. Raises Upstream and its subclasses, and
        Misconfigured for an unknown model.
        """
        ...

    async def tool(self, name: str, /, **arguments: Any) -> Any:
        """Call one of the agent's tools and return its result, after approval if the tool needs it.

        Raises ToolFailed with the message of the tool, or of the person who denied the call.
        """
        ...

    async def agent(self, name: str, text: str, /) -> str:
        """Call another agent, which one of the tools calls, and return its output.

        It runs as a child execution, while this one is a row. Raises ToolFailed if it failed or was
        cancelled.
        """
        ...

    async def image(self, image_id: str) -> bytes:
        """Return the bytes of an image that a tool has brought, in this turn or an earlier one.

        Its id, `img_…`, is in the text of the tool's result. Raises ImageNotFound.
        """
        ...

    async def checkpoint(self, state: dict[str, Any], label: str | None = None) -> None:
        """Save a checkpoint from which the function restarts; `state`: a non-empty JSON object."""
        ...

    async def emit(self, name: str, data: Any = None) -> None:
        """Send a data event to the execution's followers; `data` is JSON."""
        ...


CodeFunction: TypeAlias = Callable[[Context, str], Awaitable[Any]]


class CodeFunctions:
    """Finds code agents' functions: the registered ones first, others by import."""

    def __init__(self, functions: Mapping[str, CodeFunction] | None = None) -> None:
        self._functions = dict(functions or {})

    def use(self, functions: Mapping[str, CodeFunction]) -> None:
        """Register these instead, and import others anew."""
        self._functions = dict(functions)

    def find(self, reference: str) -> CodeFunction:
        """Return the function of that reference. Raises Misconfigured if this process has none."""
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
    """Return the function if it can be an agent's loop. Raises Misconfigured."""
    if not inspect.iscoroutinefunction(found):
        raise Misconfigured(f"{reference} is not an async function")
    given = [p for p in inspect.signature(found).parameters.values() if p.default is p.empty]
    if len(given) != _PARAMETERS or any(p.kind is p.KEYWORD_ONLY for p in given):
        raise Misconfigured(f"{reference} takes the context and the input: (ctx, input)")
    function: CodeFunction = found
    return function
