"""Loads agents from a YAML, JSON or Python file or a Python module, named by `--agents`.

Every error is Misconfigured, with file, line if known, agent, tool, key, and the remedy. All
problems of a YAML or JSON file are reported together, one per line.
"""

import difflib
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from types import ModuleType
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from outlast.agents.agents_file import (
    AgentEntry,
    agent_entry,
    agent_spec,
    file_entry,
    known_keys,
    providers_of,
    spelled,
    stores_of,
    tool_entry,
    tool_mistakes,
)
from outlast.agents.code import CodeFunction
from outlast.agents.define import Agent
from outlast.agents.problem import Path, Problem, keys, place
from outlast.agents.python_file import run_file, run_module
from outlast.agents.tools.agent_kind import described, unknown_callees
from outlast.agents.tools.python_kind import add_function
from outlast.agents.tools.signature import PythonFunction
from outlast.agents.yaml_text import Document, read_json, read_yaml
from outlast.model.agent import AgentSpec
from outlast.model.error import Misconfigured
from outlast.model.explain import Explained, explain, given_kind
from outlast.model.memory import NewStore
from outlast.model.provider import ProviderSpec, read_providers

_APART: Final = frozenset({"name", "description", "effect", "approval", "timeout"})
"""Keys of a tool on which no check of another key depends."""


@dataclass(frozen=True, slots=True)
class LoadedAgents:
    """The agents of a file, and the functions of their tools and loops by reference."""

    specs: tuple[AgentSpec, ...]
    functions: dict[str, PythonFunction] = field(default_factory=dict)
    code: dict[str, CodeFunction] = field(default_factory=dict)
    providers: dict[str, ProviderSpec] = field(default_factory=dict)
    """The file's providers of models."""
    memory_stores: dict[str, NewStore] = field(default_factory=dict)
    """Memory stores to be created at the start, by name."""

    @property
    def models(self) -> list[str]:
        """The models that agents name, each once."""
        names = (choice.name for spec in self.specs for choice in spec.models)
        return list(dict.fromkeys(name for name in names if name))


def load(path: str) -> LoadedAgents:
    """Load `agents.yaml`, `agents.py` or `package.module`. Raises Misconfigured.

    The file's folder (for a module: the working folder) joins the end of Python's search path, so
    that tools and sibling modules are found. A relative `scripted:FILE` is resolved against the
    folder of the file that names it.
    """
    file = FilePath(path)
    if file.suffix in {".yaml", ".yml", ".json"}:
        _search_in(file.parent)
        read = read_json if file.suffix == ".json" else read_yaml
        return _placed(_load_document(read(_text(file), str(file)), str(file)), file.parent)
    if file.suffix == ".py":
        _search_in(file.parent)
        _text(file)
        return _placed(_collect(run_file(file), str(file)), file.parent)
    if all(part.isidentifier() for part in path.split(".")):
        _search_in(FilePath())
        module = run_module(path)
        return _placed(_collect(module, path), FilePath(module.__file__ or "").parent)
    raise Misconfigured(f"{path}: agents are in a .yaml, .json or .py file or a package.module")


def _text(file: FilePath) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError as error:
        raise Misconfigured(
            f"{file}: there is no such file (outlast init writes an agents.yaml)"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{file}: cannot be read: {error}") from error


def _placed(loaded: LoadedAgents, folder: FilePath) -> LoadedAgents:
    """Resolve scripts and certificates against the file's folder."""

    def place(name: str) -> str:
        script = name.removeprefix("scripted:")
        return f"scripted:{folder.resolve() / script}" if script not in {"", name} else name

    def placed(spec: AgentSpec) -> AgentSpec:
        chain = tuple(replace(choice, name=place(choice.name)) for choice in spec.chain)
        return replace(spec, model=place(spec.model), chain=chain)

    providers = {
        name: spec if spec.ca_file is None else replace(spec, ca_file=str(folder / spec.ca_file))
        for name, spec in loaded.providers.items()
    }
    specs = tuple(placed(spec) for spec in loaded.specs)
    return replace(loaded, specs=specs, providers=providers)


def _search_in(folder: FilePath) -> None:
    place_of_modules = str(folder.resolve())
    if place_of_modules not in sys.path:
        sys.path.append(place_of_modules)


def _load_document(document: Document, file: str) -> LoadedAgents:
    """Read every agent of the file. Raises Misconfigured with all problems."""
    problems: list[Problem] = []
    try:
        entries = dict(enumerate(file_entry().model_validate(document.value).agents))
    except ValidationError as error:
        found = explain(error.errors(include_url=False), document.value)
        problems += [_problem(one) for one in found]
        entries = _valid_entries(document.value)
        problems += _problems_of_others(document.value, entries, found)
    functions: dict[str, PythonFunction] = {}
    specs = []
    names = _names(document.value)
    for index, entry in entries.items():
        spec, mistakes = agent_spec(entry, functions, FilePath(file).parent)
        mistakes += unknown_callees(spec, names)
        problems += [_in_file(problem, "agents", index) for problem in mistakes]
        specs.append(spec)
    problems += _duplicates(
        {index: entry["name"] for index, entry in _mappings(document.value) if _is_named(entry)}
    )
    providers, wrong = providers_of(document.value)
    problems += wrong
    if problems:
        raise _misconfigured(problems, document, file)
    return LoadedAgents(
        described(specs), functions, providers=providers, memory_stores=stores_of(document.value)
    )


def _names(value: Any) -> list[str]:
    """Return the names of all agents of the file, also of those with other mistakes."""
    listed = value.get("agents") if isinstance(value, dict) else None
    return [_name(entry) for entry in listed] if isinstance(listed, list) else []


def _valid_entries(value: Any) -> dict[int, AgentEntry]:
    """Return the agents with valid keys and types, in a file with others."""
    valid: dict[int, AgentEntry] = {}
    for index, entry in _mappings(value):
        with suppress(ValidationError):
            valid[index] = agent_entry().model_validate(entry)
    return valid


def _mappings(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Return the agents that are mappings, with their places in the list."""
    listed = value.get("agents") if isinstance(value, dict) else None
    for index, entry in enumerate(listed if isinstance(listed, list) else []):
        if isinstance(entry, dict):
            yield index, entry


def _is_named(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str)


def _problems_of_others(
    value: Any, entries: dict[int, AgentEntry], found: list[Explained]
) -> Iterator[Problem]:
    """Return further problems of agents with wrong keys or types, and of their tools."""

    def below(*place: str | int) -> list[Path]:
        return [one.path[len(place) :] for one in found if one.path[: len(place)] == place]

    for index, entry in _mappings(value):
        if index in entries:
            continue
        for problem in _of_agent(entry, below("agents", index)):
            yield _in_file(problem, "agents", index)
        tools = entry.get("tools")
        for number, tool in enumerate(tools if isinstance(tools, list) else []):
            for problem in _besides(tool, below("agents", index, "tools", number)):
                yield _in_file(problem, "agents", index, "tools", number)


def _of_agent(entry: dict[str, Any], wrong: list[Path]) -> Iterator[Problem]:
    """Return what is wrong with an agent besides these keys and its tools.

    It is read without them, with tools of its tools' names.
    """
    given = entry.get("tools")
    tools = given if isinstance(given, list) else []
    rest = {key: one for key, one in entry.items() if (key,) not in {path[:1] for path in wrong}}
    named = [tool["name"] for tool in tools if _is_named(tool)]
    rest["tools"] = [{"builtin": "datetime", "name": name} for name in named]
    rest = {"name": "unnamed", "model": "scripted:unnamed"} | rest
    with suppress(ValidationError):
        for problem in agent_spec(agent_entry().model_validate(rest), {})[1]:
            is_choice = problem.path == ("tool_choice",)
            if problem.path[:1] != ("tools",) and not (is_choice and len(named) < len(tools)):
                yield problem


def _besides(tool: Any, wrong: list[Path]) -> Iterator[Problem]:
    """Return what is wrong with a tool besides the keys at these paths.

    It is read without them, so nothing is reported on the tool as a whole, nor on a mapping that is
    incomplete.
    """
    rest, unread = tool, {path[:size] for path in wrong for size in range(len(path))}
    for path in wrong if isinstance(tool, dict) else ():
        match path:
            case (str(key),) if key in _APART:
                rest = {name: one for name, one in rest.items() if name != key}
            case (str(key), str(inner), *_) if isinstance(rest.get(key), dict):
                rest = rest | {key: {n: one for n, one in rest[key].items() if n != inner}}
            case _:
                return
    with suppress(ValidationError):
        for problem in tool_mistakes(tool_entry().model_validate(rest)):
            if problem.path not in unread:
                yield problem


def _in_file(problem: Problem, *path: str | int) -> Problem:
    """Return a problem of a part of the file, in the file's spelling and at its path there."""
    return Problem(spelled((*path, *problem.path)), problem.text)


def _duplicates(names: dict[int, str]) -> list[Problem]:
    return [
        Problem(("agents", index, "name"), f"two agents are called {name!r}; rename one")
        for index, name in names.items()
        if any(names[other] == name for other in names if other < index)
    ]


def _problem(found: Explained) -> Problem:
    """Return a mistake in the file's spelling."""
    path = found.path
    match found.type:
        case "extra_forbidden":
            return Problem(path, _unknown_key(path))
        case "missing":
            return Problem(path[:-1], f"the key {path[-1]} is missing")
        case "model_type" | "dict_type":
            text = f"this must be a mapping of keys, not {given_kind(found.given)}"
            if path[-2:-1] == ("tools",) and isinstance(found.given, str):
                kind = "python" if ":" in found.given else "builtin"
                text += f"; did you mean {kind}: {found.given}?"
            return Problem(path, text)
        case "literal_error" if path[-1] == "builtin" and found.given == "browser":
            return Problem(path, "a browser has a key of its own; write browser: {}")
        case _:
            return Problem(path, found.text)


def _unknown_key(path: Path) -> str:
    key = str(path[-1])
    known = known_keys(path[:-1])
    near = difflib.get_close_matches(to_camel(key), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key; {hint}"


def _misconfigured(problems: list[Problem], document: Document, file: str) -> Misconfigured:
    return Misconfigured("\n".join(_line(problem, document, file) for problem in problems))


def _line(problem: Problem, document: Document, file: str) -> str:
    line = document.line(problem.path)
    where = _place(problem.path, document.value)
    return f"{file}:{line}: {where}{': ' if where else ''}{problem.text}"


def _place(path: Path, value: Any) -> str:
    if path[:1] != ("agents",) or len(path) < 2 or not isinstance(path[1], int):  # noqa: PLR2004
        return keys(path)
    agent = value["agents"][path[1]]
    name = _name(agent)
    tools = agent.get("tools") if isinstance(agent, dict) else None
    names = [_name(tool) for tool in tools] if isinstance(tools, list) else []
    which = f'agent "{name}"' if name else f"agents[{path[1]}]"
    return ", ".join(part for part in (which, place(names, path[2:])) if part)


def _name(entry: Any) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else ""


def _collect(module: ModuleType, shown: str) -> LoadedAgents:
    """Return the module's list `agents` if it has one, otherwise all its Agents."""
    listed = vars(module).get("agents")
    if isinstance(listed, (list, tuple)):
        found = list(listed)
    else:
        found = [value for value in vars(module).values() if isinstance(value, Agent)]
    if not found:
        raise Misconfigured(f'{shown}: there is no agent in it; write one: a = Agent("a", model=…)')
    loaded = load_listed(found, shown)
    named = vars(module).get("providers")
    if not isinstance(named, dict):
        return loaded
    try:
        return replace(loaded, providers=read_providers(named))
    except Misconfigured as error:
        lines = "\n".join(f"{shown}: {line}" for line in error.message.splitlines())
        raise Misconfigured(lines) from error


def load_listed(found: Iterable[Any], shown: str) -> LoadedAgents:
    """Return given Agent objects as loaded; `shown` names their source. Raises Misconfigured."""
    found = list(found)
    functions: dict[str, PythonFunction] = {}
    specs: dict[str, AgentSpec] = {}
    for agent in found:
        if not isinstance(agent, Agent):
            raise Misconfigured(f"{shown}: agents: {type(agent).__name__} is not an Agent")
        if specs.setdefault(agent.spec.name, agent.spec) is not agent.spec:
            raise Misconfigured(f"{shown}: two agents are called {agent.spec.name!r}; rename one")
        for function in agent.functions.values():
            add_function(functions, function)
    lines = [
        f'{shown}: agent "{spec.name}", {place([t.name for t in spec.tools], one.path)}: {one.text}'
        for spec in specs.values()
        for one in unknown_callees(spec, specs)
    ]
    if lines:
        raise Misconfigured("\n".join(lines))
    code = {a.spec.code: a.function for a in found if a.spec.code and a.function}
    return LoadedAgents(described(specs.values()), functions, code)
