"""The shape of the agents file: its keys and their types, and the conversion to specs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import Field, create_model
from pydantic.alias_generators import to_camel

from outlast.agents.check import CHOICES, agent_problems, tool_problems
from outlast.agents.problem import Path, Problem
from outlast.agents.schedule_entry import ScheduleEntry, schedule_of
from outlast.agents.tools import kinds
from outlast.agents.tools.builtin import builtin_spec
from outlast.agents.tools.kind import (
    ApprovalEntry,
    Count,
    Draft,
    Entry,
    Seconds,
    ToolEntry,
    ToolKind,
)
from outlast.agents.tools.python import import_function
from outlast.agents.tools.signature import PythonFunction
from outlast.model.agent import AgentSpec, Effect, Expiry, Limits, ModelChoice, ToolSpec
from outlast.model.error import Misconfigured
from outlast.model.memory import NamedStore, NewStore
from outlast.model.provider import ProviderSpec, checked_providers

Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""REASONING_EFFORTS, which a type cannot be made of."""
FallbackCode: TypeAlias = Literal[
    "model_unavailable", "rate_limit_exceeded", "context_length_exceeded", "model_rejected"
]
"""FALLBACK_CODES."""


class LimitsEntry(Entry):
    max_steps: Count = 20
    max_tokens: Count | None = None
    max_seconds: Seconds | None = 600.0


class SettingsEntry(Entry):
    temperature: Annotated[float, Field(ge=0)] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    reasoning_effort: Effort | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop: list[str] | None = None
    seed: int | None = None
    web_search: bool | None = None


class ModelEntry(Entry):
    name: str
    context_tokens: Count | None = None


class NamedStoreEntry(Entry):
    name: str
    access: Literal["read_only", "read_write"] = "read_write"


class MemoryStoreEntry(Entry):
    name: str
    description: str = ""
    embedding: str | None = None


class AgentEntry(Entry):
    name: str
    model: str | list[str | ModelEntry]
    description: str = ""
    instructions: str = ""
    tools: list[ToolEntry] = []  # noqa: RUF012 - pydantic copies it
    tool_choice: str = "auto"
    limits: LimitsEntry = LimitsEntry()
    settings: SettingsEntry = SettingsEntry()
    fallback_on: Annotated[list[FallbackCode], Field(min_length=1)] = []  # noqa: RUF012 - copied
    schedule: ScheduleEntry | None = None
    memory_stores: list[str | NamedStoreEntry] = []  # noqa: RUF012 - pydantic copies it
    images: bool | None = None


class FileEntry(Entry):
    agents: Annotated[list[AgentEntry], Field(min_length=1)]
    providers: Any = {}  # noqa: RUF012 - pydantic copies it
    """Read by `model.provider`, like the same table of the settings."""
    memory_stores: list[MemoryStoreEntry] = []  # noqa: RUF012 - pydantic copies it


def tool_entry() -> type[ToolEntry]:
    """Return the shape of a tool, with a key for each kind."""
    return _shapes(kinds.KINDS)[0]


def agent_entry() -> type[AgentEntry]:
    """Return the shape of an agent."""
    return _shapes(kinds.KINDS)[1]


def file_entry() -> type[FileEntry]:
    """Return the shape of the file."""
    return _shapes(kinds.KINDS)[2]


@cache
def _shapes(
    table: tuple[ToolKind, ...],
) -> tuple[type[ToolEntry], type[AgentEntry], type[FileEntry]]:
    keys: dict[str, Any] = {kind.key: (kind.entry | None, None) for kind in table}
    tool = create_model("ToolEntry", __base__=ToolEntry, **keys)
    agent = create_model("AgentEntry", __base__=AgentEntry, tools=(list[tool], []))  # type: ignore[valid-type]
    agents = Annotated[list[agent], Field(min_length=1)]  # type: ignore[valid-type]
    return tool, agent, create_model("FileEntry", __base__=FileEntry, agents=agents)


def providers_of(value: Any) -> tuple[dict[str, ProviderSpec], list[Problem]]:
    """Return the providers of a file's document, and everything that is wrong with them."""
    given = value.get("providers", {}) if isinstance(value, dict) else {}
    specs, found = checked_providers(given)
    return specs, [Problem(("providers", *path), text) for path, text in found]


def stores_of(value: Any) -> dict[str, NewStore]:
    """Return the memory stores of a valid file's document, by name."""
    given = value.get("memoryStores", ()) if isinstance(value, dict) else ()
    return {
        store["name"]: NewStore(store.get("description", ""), store.get("embedding"))
        for store in given
    }


def known_keys(path: Path) -> list[str]:
    """Return the keys of the mapping at this path of the file."""
    entry: type[Entry] = file_entry()
    for part in path:
        if isinstance(part, str):
            fields = {to_camel(name): field for name, field in entry.model_fields.items()}
            entry = next(_entries(fields[part].annotation))
    return [to_camel(name) for name in entry.model_fields]


def spelled(path: Path) -> Path:
    """Return a path from the file's root, in a spec's keys, in the file's spelling.

    Names of headers, arguments and the like stay unchanged.
    """
    entry: type[Entry] | None = file_entry()
    written: list[str | int] = []
    for part in path:
        if isinstance(part, str):
            field = None if entry is None else entry.model_fields.get(part)
            written.append(part if field is None else to_camel(part))
            entry = None if field is None else next(_entries(field.annotation), None)
        else:
            written.append(part)
    return tuple(written)


def _entries(annotation: Any) -> Iterator[type[Entry]]:
    """Return the entries that a key accepts, directly, in a list or as alternatives."""
    if isinstance(annotation, type) and issubclass(annotation, Entry):
        yield annotation
    for part in get_args(annotation):
        yield from _entries(part)


def agent_spec(
    entry: AgentEntry, functions: dict[str, PythonFunction], folder: FilePath = FilePath()
) -> tuple[AgentSpec, list[Problem]]:
    """Return the spec of an entry, and everything that is wrong with it.

    A placeholder replaces a tool that cannot be made. The Python functions of its tools are added
    to `functions`; files are found in the folder.
    """
    drafts = [Draft(functions, folder) for _ in entry.tools]
    made = [_made(*one) for one in zip(entry.tools, range(len(drafts)), drafts, strict=True)]
    places = [index for index, one in enumerate(made) for _ in one.specs]
    chain = _chain(entry.model)
    schedule, wrong = (None, []) if entry.schedule is None else schedule_of(entry.schedule)
    spec = AgentSpec(
        entry.name,
        chain[0].name,
        entry.instructions,
        entry.description,
        tuple(spec for one in made for spec in one.specs),
        entry.tool_choice,
        Limits(**entry.limits.model_dump()),
        entry.settings.model_dump(exclude_none=True),
        chain=chain if isinstance(entry.model, list) and entry.model else (),
        fallback_on=tuple(entry.fallback_on),
        schedule=schedule,
        memory_stores=tuple(_store(one) for one in entry.memory_stores),
        images=entry.images,
    )
    problems = [
        problem.below("tools", index) for index, one in enumerate(made) for problem in one.problems
    ]
    problems += [problem.below("schedule") for problem in wrong]
    found = (_in_entry(problem, places) for problem in agent_problems(spec))
    if not all(one.named for one in made) and spec.tool_choice not in CHOICES:
        found = (problem for problem in found if problem.path != ("tool_choice",))
    return spec, list(dict.fromkeys([*problems, *found]))


def _chain(model: str | list[str | ModelEntry]) -> tuple[ModelChoice, ...]:
    given = [model] if isinstance(model, str) else model or [""]
    return tuple(
        ModelChoice(one) if isinstance(one, str) else ModelChoice(one.name, one.context_tokens)
        for one in given
    )


def _store(given: str | NamedStoreEntry) -> NamedStore:
    return NamedStore(given) if isinstance(given, str) else NamedStore(given.name, given.access)


def tool_mistakes(entry: ToolEntry) -> list[Problem]:
    """Return everything that is wrong with one tool, of an agent that has no spec."""
    made = _made(entry, 0, Draft({}))
    return [*made.problems, *(problem for spec in made.specs for problem in tool_problems(spec))]


def _in_entry(problem: Problem, places: list[int]) -> Problem:
    """Return a problem of one of the agent's tools at the entry that the tool is made of."""
    match problem.path:
        case ("tools", int(index), *rest):
            return Problem(("tools", places[index], *rest), problem.text)
        case _:
            return problem


@dataclass(frozen=True, slots=True)
class _Made:
    """A tool of the file, as far as it could be made."""

    specs: tuple[ToolSpec, ...]
    """If the tool cannot be made, a valid placeholder with the entry's common keys."""
    problems: list[Problem]
    named: bool
    """Whether the specs have the tools' names."""


def _made(entry: ToolEntry, index: int, draft: Draft) -> _Made:
    specs: tuple[ToolSpec, ...] = ()
    given = [kind for kind in kinds.KINDS if getattr(entry, kind.key) is not None]
    if len(given) != 1:
        found = " and ".join(kind.key for kind in given) or "none of them"
        draft.wrong((), kinds.exactly_one(found))
    _check_approval(entry, draft)
    if len(given) == 1:
        (kind,) = given
        for key in kind.own_keys:
            if getattr(entry, key) is not None:
                draft.wrong((key,), f"a {kind.key} tool brings its own {key}; remove this key")
        made = kind.make(entry, getattr(entry, kind.key), draft)
        specs = (made,) if isinstance(made, ToolSpec) else tuple(made or ())
    whole = bool(specs)
    if not whole:
        specs = (builtin_spec("datetime", f"unnamed_{index}"),)
    name = entry.name if len(specs) == 1 else None
    overridden = tuple(_overridden(spec, entry, name) for spec in specs)
    return _Made(overridden, draft.problems, whole or entry.name is not None)


def _overridden(spec: ToolSpec, entry: ToolEntry, name: str | None) -> ToolSpec:
    return replace(
        spec,
        name=spec.name if name is None else name,
        description=spec.description if entry.description is None else entry.description,
        effect=spec.effect if entry.effect is None else Effect(entry.effect),
        approval=spec.approval if entry.approval is None else _asks(entry.approval),
        timeout=spec.timeout if entry.timeout is None else entry.timeout,
        expiry=_expiry(entry.approval) or spec.expiry,
    )


_ALWAYS_OR_NEVER: Final = {"always": True, "never": False}


def _asks(approval: bool | str | ApprovalEntry) -> bool | str:
    asks = approval.ask if isinstance(approval, ApprovalEntry) else approval
    return _ALWAYS_OR_NEVER.get(asks, asks) if isinstance(asks, str) else asks


def _expiry(approval: bool | str | ApprovalEntry | None) -> Expiry | None:
    if not isinstance(approval, ApprovalEntry) or approval.expires is None:
        return None
    return Expiry(approval.expires, approval.default == "approve")


def _check_approval(entry: ToolEntry, draft: Draft) -> None:
    """Check that a named function exists when the file is read."""
    if entry.approval is None or not isinstance(asks := _asks(entry.approval), str):
        return
    try:
        import_function(asks)
    except Misconfigured as error:
        known = f"true, false, always, never or module:function; {error.message}"
        draft.wrong(("approval",), known)
