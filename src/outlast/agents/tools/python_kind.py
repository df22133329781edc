"""The kind `python`: the operator's functions, and their options in `@tool(…)`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from outlast.agents.port import ToolContext
from outlast.agents.problem import Problem
from outlast.agents.tools.kind import Draft, Resources, ToolEntry, ToolKind
from outlast.agents.tools.python import PythonTools, import_function
from outlast.agents.tools.secrets import secrets_of
from outlast.agents.tools.signature import MARK, PythonFunction, read_function
from outlast.model.agent import Effect, Expiry, ToolSpec
from outlast.model.error import Misconfigured, ToolFailed

Asks: TypeAlias = Callable[[dict[str, Any]], bool]
"""Returns whether a person decides, by a call's arguments; not async."""


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """Options of `@tool(…)`."""

    name: str | None = None
    effect: Effect = Effect.DESTRUCTIVE
    approval: bool | Asks = False
    timeout: float = 60.0
    expiry: Expiry | None = None


def function_spec(function: PythonFunction) -> ToolSpec:
    """Return a function's tool, with the options of `@tool`."""
    options = getattr(function.function, MARK, ToolOptions())
    spec = ToolSpec(
        options.name or function.function.__name__,
        function.description,
        function.parameters,
        python=function.reference,
    )
    return replace(
        spec,
        effect=options.effect,
        approval=function.reference if callable(options.approval) else options.approval,
        timeout=options.timeout,
        expiry=options.expiry,
    )


def add_function(functions: dict[str, PythonFunction], function: PythonFunction) -> None:
    """Register a function by its reference. Raises Misconfigured if another has the same."""
    known = functions.setdefault(function.reference, function)
    if known.function != function.function:
        problem = f"two functions are called {function.reference}; define them under two names"
        raise Misconfigured(problem)


class PythonRunner:
    """Runs Python tools."""

    def __init__(self, resources: Resources) -> None:
        self._tools = PythonTools(resources.functions)

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Run the function and hide forwarded credentials, which it may repeat."""
        assert spec.python is not None
        if not context.headers:
            return await self._tools.call(spec.python, arguments, context, spec.timeout)
        secrets = secrets_of((), {}, context.headers)
        try:
            result = await self._tools.call(spec.python, arguments, context, spec.timeout)
        except ToolFailed as failed:
            failed.hide(secrets.hide)
            raise
        return secrets.hide_in_result(result)

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


def _make(_entry: ToolEntry, reference: str, draft: Draft) -> ToolSpec | None:
    try:
        function = read_function(import_function(reference), reference)
        add_function(draft.functions, function)
    except Misconfigured as error:
        draft.wrong(("python",), error.message)
        return None
    return function_spec(function)


def _operators_only(_spec: ToolSpec) -> Iterator[Problem]:
    yield Problem((), "a function of the server is for the operator's own agents file")


PYTHON: Final = ToolKind(
    "python",
    str,
    _make,
    PythonRunner,
    operators_only=_operators_only,
    own_keys=("parameters",),
)
