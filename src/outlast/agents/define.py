"""Agents written in Python: `Agent` and `tool`, importable from `outlast`."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast, overload

from outlast.agents.check import agent_problems
from outlast.agents.code import CodeFunction, require_code
from outlast.agents.problem import Problem, place
from outlast.agents.schedule_entry import given_schedule
from outlast.agents.tools.builtin import BUILTINS, builtin_spec
from outlast.agents.tools.python_kind import Asks, ToolOptions, add_function, function_spec
from outlast.agents.tools.signature import MARK, PythonFunction, read_function, reference_of
from outlast.model.agent import AgentSpec, Effect, Expiry, Limits, ModelChoice, ToolSpec
from outlast.model.error import Misconfigured
from outlast.model.memory import NamedStore

EffectName: TypeAlias = Literal["read_only", "idempotent", "destructive"]
ApprovalName: TypeAlias = Literal["always", "never"]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_SETTINGS: Final = (
    *("temperature", "max_tokens", "max_completion_tokens", "reasoning_effort"),
    *("top_p", "stop", "seed", "web_search"),
)
Chain: TypeAlias = str | Sequence[str | ModelChoice]
"""A model's name, or several in the order in which they are tried."""


@overload
def tool(function: _Function, /) -> _Function: ...
@overload
def tool(
    *,
    name: str | None = None,
    effect: EffectName | Effect = "destructive",
    approval: bool | ApprovalName | Asks = False,
    timeout: float = 60.0,
    expiry: Expiry | None = None,
) -> Callable[[_Function], _Function]: ...
def tool(
    function: _Function | None = None,
    /,
    *,
    name: str | None = None,
    effect: EffectName | Effect = "destructive",
    approval: bool | ApprovalName | Asks = False,
    timeout: float = 60.0,
    expiry: Expiry | None = None,
) -> _Function | Callable[[_Function], _Function]:
    """Mark a function as a tool; it stays unchanged and can be called as before.

    Its type hints give the JSON Schema of the arguments, its docstring the descriptions, and a
    parameter annotated with ToolContext gets the call's context. `effect` is what a second run
    would do; `approval` requires a person's decision before each run (True or "always"), or before
    those for whose arguments the given function returns True; `expiry` is how long that waits, and
    the decision after that; `timeout` is in seconds. Raises Misconfigured for any other effect or
    approval.
    """
    options = ToolOptions(name, _effect(effect), _approval(approval), float(timeout), expiry)

    def mark(marked: _Function) -> _Function:
        setattr(marked, MARK, options)
        return marked

    return mark if function is None else mark(function)


class Agent:
    """An agent: a name, a model, instructions, and tools."""

    __slots__ = ("function", "functions", "spec")

    def __init__(
        self,
        name: str,
        *,
        model: Chain,
        instructions: str = "",
        description: str = "",
        tools: Iterable[Callable[..., Any] | str | ToolSpec] = (),
        tool_choice: str = "auto",
        limits: Limits | None = None,
        settings: dict[str, Any] | None = None,
        schedule: dict[str, Any] | None = None,
        code: CodeFunction | None = None,
        fallback_on: Sequence[str] = (),
        memory_stores: Iterable[str | NamedStore] = (),
        images: bool | None = None,
    ) -> None:
        """Tools are typed functions, names of builtin tools, or ToolSpecs (HTTP, `agent_tool`).

        Several models are tried in their order, the next after an error whose code is in
        `fallback_on` (default: all but `model_rejected`). `settings` go to the model: temperature,
        max_tokens or max_completion_tokens, reasoning_effort, top_p, stop, seed, web_search.
        `schedule` has the keys of the agents file. `code` is the function that is the agent's loop
        (see `agent`).
        `memory_stores`: of executions that name none, by name; created at a server's start.
        `images`: whether the model is shown the images that tools bring; by default if its provider
        is known to take them.
        Raises Misconfigured, naming wrong keys.
        """
        chain = _chain(model)
        _require_texts(name=name, instructions=instructions, description=description)
        for choice in chain:
            _require_texts(name=name, model=choice.name)
        self.functions: dict[str, PythonFunction] = {}
        """The agent's functions by their reference."""
        self.function = code
        read_schedule, wrong = given_schedule(schedule)
        self.spec = AgentSpec(
            name,
            chain[0].name,
            instructions,
            description,
            tuple(self._tool(name, given) for given in tools),
            tool_choice,
            limits or Limits(),
            dict(settings or {}),
            None if code is None else reference_of(code),
            chain=chain if isinstance(model, list | tuple) and model else (),
            fallback_on=tuple(fallback_on),
            schedule=read_schedule,
            memory_stores=tuple(
                NamedStore(one) if isinstance(one, str) else one for one in memory_stores
            ),
            images=images,
        )
        self._check(wrong)

    def __repr__(self) -> str:
        return f"Agent({self.spec.name!r}, model={self.spec.model!r})"

    def _tool(self, agent: str, given: Callable[..., Any] | str | ToolSpec) -> ToolSpec:
        if isinstance(given, ToolSpec):
            return given
        if isinstance(given, str):
            if given not in BUILTINS:
                known = ", ".join(BUILTINS)
                problem = f'agent "{agent}": there is no builtin tool {given!r}; there are {known}'
                raise Misconfigured(problem)
            return builtin_spec(given)
        try:
            function = read_function(given)
            add_function(self.functions, function)
        except Misconfigured as error:
            raise Misconfigured(f'agent "{agent}", tools: {error.message}') from error
        return function_spec(function)

    def _check(self, wrong: list[Problem]) -> None:
        names = [given.name for given in self.spec.tools]
        found = [*agent_problems(self.spec), *(problem.below("schedule") for problem in wrong)]
        lines = [
            f'agent "{self.spec.name}", {place(names, problem.path)}: {problem.text}'
            for problem in found
        ]
        lines += [
            f'agent "{self.spec.name}", settings.{key}: unknown key; known: {", ".join(_SETTINGS)}'
            for key in self.spec.settings
            if key not in _SETTINGS
        ]
        if lines:
            raise Misconfigured("\n".join(lines))


def agent(
    *,
    model: Chain,
    name: str | None = None,
    instructions: str = "",
    description: str | None = None,
    tools: Iterable[Callable[..., Any] | str | ToolSpec] = (),
    limits: Limits | None = None,
    settings: dict[str, Any] | None = None,
    fallback_on: Sequence[str] = (),
    schedule: dict[str, Any] | None = None,
    images: bool | None = None,
) -> Callable[[CodeFunction], Agent]:
    """Make an agent of an async function `(ctx, input)`, which replaces the loop.

    The agent's name defaults to the function's, its description to the docstring. What the function
    returns is the output: text unchanged, anything else as JSON. `model` is used by `ctx.model`,
    `tools` by `ctx.tool`. Raises Misconfigured.
    """

    def made(function: CodeFunction) -> Agent:
        require_code(function, reference_of(function))
        text = inspect.getdoc(function) or "" if description is None else description
        return Agent(
            name or function.__name__,
            model=model,
            instructions=instructions,
            description=text,
            tools=tools,
            limits=limits,
            settings=settings,
            schedule=schedule,
            code=function,
            fallback_on=fallback_on,
            images=images,
        )

    return made


def _chain(model: Chain) -> tuple[ModelChoice, ...]:
    """Return the models; what is no text is refused with the agent's name later."""
    if not isinstance(model, list | tuple):
        return (ModelChoice(cast("str", model)),)
    if not model:
        return (ModelChoice(""),)
    return tuple(one if isinstance(one, ModelChoice) else ModelChoice(one) for one in model)


def _require_texts(**given: object) -> None:
    """Raise Misconfigured for values that are not text, such as a model that is an object."""
    for key, value in given.items():
        if not isinstance(value, str):
            which = f'agent "{given["name"]}", ' if isinstance(given["name"], str) else ""
            hint = f"; {_model_string(value)}" if key == "model" else ""
            raise Misconfigured(f"{which}{key}: should be text, not {type(value).__name__}{hint}")


def _model_string(model: object) -> str:
    """Return what to write instead of a model that is an object."""
    from outlast.agents.models.bridge import PROVIDERS

    provider, name = getattr(model, "system", None), getattr(model, "model_name", None)
    example = "openai-chat:gpt-5-mini"
    if provider in PROVIDERS and isinstance(name, str) and name:
        example = f"{provider}:{name}"
    return f"name the model, as in {example!r}: every process makes it by its name"


def _approval(given: bool | str | Asks) -> bool | Asks:
    match given:
        case bool():
            return given
        case "always" | "never":
            return given == "always"
        case str():
            raise Misconfigured(f"approval {given!r} is none of always and never")
        case _ if inspect.iscoroutinefunction(given):
            raise Misconfigured("approval is decided by a function that is not async")
        case _:
            return given


def _effect(effect: str) -> Effect:
    try:
        return Effect(effect)
    except ValueError as error:
        problem = f"effect {effect!r} is none of read_only, idempotent and destructive"
        raise Misconfigured(problem) from error
