"""The agents file's own shape: its keys and their types, and what a spec makes of them."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from outlast.agents.check import Path, Problem, agent_problems, tool_problems
from outlast.agents.define import add_function, function_spec
from outlast.agents.tools.builtin import builtin_spec
from outlast.agents.tools.python import import_function
from outlast.agents.tools.signature import PythonFunction, read_function
from outlast.model.agent import AgentSpec, Effect, Expiry, HttpCall, Limits, ToolSpec
from outlast.model.error import Misconfigured

_Seconds = Annotated[float, Field(gt=0)]
_Count = Annotated[int, Field(gt=0)]
_NO_ARGUMENTS: Final[dict[str, Any]] = {"type": "object", "properties": {}}


class Entry(BaseModel):
    """A mapping of the file, keys in camelCase, nothing unknown, no type guessed."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=to_camel,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


class HttpEntry(Entry):
    url: str
    method: Annotated[str, AfterValidator(str.upper)] = "POST"
    query: Any = None
    body: Any = None
    send: list[str] = ["user"]
    headers: dict[str, str] = {}
    timeout: _Seconds = 30.0
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    max_result_bytes: _Count = 262_144


class ApprovalEntry(Entry):
    ask: bool | str = True
    expires: _Seconds | None = None
    default: Literal["approve", "deny"] = "deny"


class ToolEntry(Entry):
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    effect: Literal["read_only", "idempotent", "destructive"] | None = None
    approval: bool | str | ApprovalEntry | None = None
    timeout: _Seconds | None = None
    http: HttpEntry | None = None
    python: str | None = None
    builtin: Literal["calculator", "datetime"] | None = None


class LimitsEntry(Entry):
    max_steps: _Count = 20
    max_tokens: _Count | None = None
    max_seconds: _Seconds | None = 600.0


class SettingsEntry(Entry):
    temperature: Annotated[float, Field(ge=0)] | None = None
    max_tokens: _Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop: list[str] | None = None
    seed: int | None = None


class AgentEntry(Entry):
    name: str
    model: str
    description: str = ""
    instructions: str = ""
    tools: list[ToolEntry] = []
    tool_choice: str = "auto"
    limits: LimitsEntry = LimitsEntry()
    settings: SettingsEntry = SettingsEntry()


class FileEntry(Entry):
    agents: Annotated[list[AgentEntry], Field(min_length=1)]


ENTRIES: Final[dict[str, type[Entry]]] = {
    "": FileEntry,
    "agents": AgentEntry,
    "tools": ToolEntry,
    "http": HttpEntry,
    "approval": ApprovalEntry,
    "limits": LimitsEntry,
    "settings": SettingsEntry,
}
"""Which mapping stands under which key."""


class Wrong(Exception):  # the reader of the file turns it into Misconfigured, with its line
    """An entry that has the right types and still makes no tool."""

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(path, text)


def agent_spec(
    entry: AgentEntry, functions: dict[str, PythonFunction]
) -> tuple[AgentSpec, list[Problem]]:
    """The spec of an entry, and what is wrong with it.

    It lacks the tools that make none. The Python functions of its tools are added to `functions`.
    """
    tools: dict[int, ToolSpec] = {}
    problems: list[Problem] = []
    for index, tool in enumerate(entry.tools):
        try:
            tools[index] = _tool_spec(tool, ("tools", index), functions)
        except Wrong as wrong:
            problems.append(wrong.problem)
    spec = AgentSpec(
        entry.name,
        entry.model,
        entry.instructions,
        entry.description,
        tuple(tools.values()),
        entry.tool_choice,
        Limits(**entry.limits.model_dump()),
        entry.settings.model_dump(exclude_none=True),
    )
    if not problems:
        return spec, list(agent_problems(spec))
    for index, made in tools.items():
        problems += [Problem(("tools", index, *p.path), p.text) for p in tool_problems(made)]
    return spec, problems


def _tool_spec(entry: ToolEntry, path: Path, functions: dict[str, PythonFunction]) -> ToolSpec:
    given = [kind for kind in ("http", "python", "builtin") if getattr(entry, kind) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise Wrong(path, f"a tool has exactly one of http, python and builtin; found {found}")
    _check_approval(entry, path)
    if entry.http is not None:
        return _http_spec(entry, entry.http, path)
    for key in _REFUSED[given[0]]:
        if getattr(entry, key) is not None:
            raise Wrong((*path, key), f"a {given[0]} tool brings its own {key}; remove this key")
    if entry.builtin is not None:
        spec = builtin_spec(entry.builtin)
    else:
        spec = _python_spec(entry.python or "", path, functions)
    return _overridden(spec, entry)


_REFUSED: Final = {"python": ("parameters",), "builtin": ("parameters", "effect", "timeout")}


def _http_spec(entry: ToolEntry, http: HttpEntry, path: Path) -> ToolSpec:
    if entry.name is None:
        raise Wrong(path, "an HTTP tool needs the key name")
    if entry.timeout is not None:
        raise Wrong((*path, "timeout"), "an HTTP tool's timeout is written under http")
    spec = ToolSpec(
        entry.name,
        "",
        _NO_ARGUMENTS if entry.parameters is None else entry.parameters,
        timeout=http.timeout,
        http=HttpCall(**http.model_dump() | {"send": tuple(http.send)}),
    )
    return _overridden(spec, entry)


def _python_spec(reference: str, path: Path, functions: dict[str, PythonFunction]) -> ToolSpec:
    try:
        function = read_function(import_function(reference), reference)
        add_function(functions, function)
    except Misconfigured as error:
        raise Wrong((*path, "python"), error.message) from error
    return function_spec(function)


def _overridden(spec: ToolSpec, entry: ToolEntry) -> ToolSpec:
    return ToolSpec(
        spec.name if entry.name is None else entry.name,
        spec.description if entry.description is None else entry.description,
        spec.parameters,
        spec.effect if entry.effect is None else Effect(entry.effect),
        spec.approval if entry.approval is None else _asks(entry.approval),
        spec.timeout if entry.timeout is None else entry.timeout,
        spec.http,
        spec.python,
        spec.builtin,
        _expiry(entry.approval) or spec.expiry,
    )


_ALWAYS_OR_NEVER: Final = {"always": True, "never": False}


def _asks(approval: bool | str | ApprovalEntry) -> bool | str:
    asks = approval.ask if isinstance(approval, ApprovalEntry) else approval
    return _ALWAYS_OR_NEVER.get(asks, asks) if isinstance(asks, str) else asks


def _expiry(approval: bool | str | ApprovalEntry | None) -> Expiry | None:
    if not isinstance(approval, ApprovalEntry) or approval.expires is None:
        return None
    return Expiry(approval.expires, approval.default == "approve")


def _check_approval(entry: ToolEntry, path: Path) -> None:
    """A function that is named must be there when the file is read. Raises Wrong."""
    if entry.approval is None or not isinstance(asks := _asks(entry.approval), str):
        return
    try:
        import_function(asks)
    except Misconfigured as error:
        told = f"true, false, always, never or module:function; {error.message}"
        raise Wrong((*path, "approval"), told) from error
