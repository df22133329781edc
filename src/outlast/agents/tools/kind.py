"""A kind of tool: its key in the agents file, its spec, its checks, and its runner.

agents file ──► entry (pydantic) ──► `make` ──► ToolSpec ──► stored as JSON with the agent's version
                                        │
                       `problems`, `operators_only`, `not_ready`: before any call
                                        │
                    `runner`, made once with the server's Resources: each call

The kinds that exist are the table in `agents.tools.kinds`; a kind is one module and one line there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from outlast.agents.browser.settings import DEFAULTS, BrowserSettings
from outlast.agents.port import ToolContext, WaitFor
from outlast.agents.problem import Path, Problem
from outlast.agents.tools.python import ToolFunctions
from outlast.agents.tools.signature import PythonFunction
from outlast.model.agent import ToolSpec
from outlast.model.clock import Clock

if TYPE_CHECKING:
    import aiohttp

    from outlast.agents.memory_search import MemorySearch
    from outlast.store.store import Store

MAX_RESULT_BYTES: Final = 262_144
"""Limit of a tool's result as JSON, if its kind has none of its own."""

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class Entry(BaseModel):
    """A mapping of the file: keys in camelCase, no unknown keys, strict types."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=to_camel,
        hide_input_in_errors=True,
        defer_build=True,  # of a hundred kinds of entries a file has a few
        allow_inf_nan=False,
    )


class ApprovalEntry(Entry):
    ask: bool | str = True
    expires: Seconds | None = None
    default: Literal["approve", "deny"] = "deny"


class ToolEntry(Entry):
    """The keys common to all tools; those of the kinds are added to them (see `agents_file`)."""

    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    effect: Literal["read_only", "idempotent", "destructive"] | None = None
    approval: bool | str | ApprovalEntry | None = None
    timeout: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """Results collected while the spec of an entry is made."""

    functions: dict[str, PythonFunction]
    """Functions of the whole file, by reference: a kind adds those that its tools call."""
    folder: FilePath = FilePath()
    """Folder of the agents file."""
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, path: Path, text: str) -> None:
        """Add a problem at this path below the tool."""
        self.problems.append(Problem(path, text))


@dataclass(frozen=True, slots=True)
class Resources:
    """What the runner of a kind may use of the server."""

    clock: Clock
    environ: Mapping[str, str]
    functions: ToolFunctions
    connector: "Callable[[], aiohttp.BaseConnector] | None" = None
    """Decides which addresses may be dialled that the operator wrote (see `agents.dial`); None:
    any."""
    models_connector: "Callable[[], aiohttp.BaseConnector] | None" = None
    """The same for addresses that a model wrote."""
    store: "Store | None" = None
    """Open while calls run; None without a server, as in a test of one tool."""
    search: "MemorySearch | None" = None
    """The search of the store's memory; None where `store` is."""
    browser: BrowserSettings = DEFAULTS


class ToolRunner(Protocol):
    """Runs the tools of one kind. Its constructor opens nothing."""

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Run a call with valid arguments, within the tool's timeout; return JSON.

        Raises ToolFailed and ToolTimeout; their texts are for the model and hold no secret.
        """
        ...

    async def warm_up(self) -> None:
        """Load what the first call needs; safe to call many times."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@runtime_checkable
class ToolLister(Protocol):
    """A runner of a kind whose spec may stand for several tools, which are listed later."""

    @property
    def connections(self) -> int:
        """Connections that are not closed."""
        ...

    def give_up(self, source: ToolSpec, handle: dict[str, Any], context: ToolContext) -> None:
        """Have a source's server informed that a call's result is not wanted; wait for nothing."""
        ...

    async def listed(
        self, source: ToolSpec, context: ToolContext, taken: frozenset[str]
    ) -> tuple[ToolSpec, ...]:
        """Return the tools of a source, called none of the names that are taken.

        Raises ToolsUnavailable, Misconfigured.
        """
        ...


def no_problems(_spec: ToolSpec) -> Iterable[Problem]:
    """Yield no problems."""
    return ()


def runs_at_once(_spec: ToolSpec, _arguments: dict[str, Any]) -> WaitFor | None:
    """Wait for nothing."""
    return None


def always_ready(_spec: ToolSpec, _environ: Mapping[str, str]) -> str | None:
    """Yield nothing: no requirements on the environment."""
    return None


@dataclass(frozen=True, slots=True, eq=False)
class ToolKind:
    """One kind of tool."""

    key: str
    """Key in the agents file and in the stored spec."""
    entry: Any
    """Type of the key's value in the file: an `Entry`, or any type for pydantic."""
    make: Callable[[ToolEntry, Any, Draft], ToolSpec | Sequence[ToolSpec] | None]
    """Returns the spec or specs of an entry whose key has this value; problems go into the draft.
    None if there is no spec. The entry's own description, effect, approval and timeout are applied
    to each afterwards, its name to a single one."""
    runner: Callable[[Resources], ToolRunner]
    problems: Callable[[ToolSpec], Iterable[Problem]] = no_problems
    """Yields problems of a spec from any source, at paths below the key."""
    operators_only: Callable[[ToolSpec], Iterable[Problem]] = no_problems
    """Yields settings allowed only in the operator's files, at paths below the key: access to the
    server's environment, code or files."""
    not_ready: Callable[[ToolSpec, Mapping[str, str]], str | None] = always_ready
    """Returns what the environment lacks for a call, as the rest of a sentence; None if nothing."""
    own_keys: tuple[str, ...] = ()
    """Keys of an entry that the kind sets itself; refused in the file."""
    max_result_bytes: int | None = MAX_RESULT_BYTES
    """None: the runner has a limit of its own."""
    waits_for: Callable[[ToolSpec, dict[str, Any]], WaitFor | None] = runs_at_once
    """Returns what a call with these arguments waits for instead of running: a client, a child, a
    time. The execution is suspended until then, and the runner is not called. None if it runs."""
