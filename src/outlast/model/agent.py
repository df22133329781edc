"""An agent: its instructions, its model, its tools. A version never changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Final, Literal

MADE_OVER_HTTP: Final = "api:"
"""The source of an agent that a caller of the API made; no file and no module is called so."""


class Effect(StrEnum):
    """What running a tool a second time would do, in MCP's words."""

    READ_ONLY = "read_only"
    IDEMPOTENT = "idempotent"
    """A second call with the same key changes nothing more."""
    DESTRUCTIVE = "destructive"
    """Never run again unasked."""

    @property
    def repeatable(self) -> bool:
        """Whether a call that was running in a crash may simply run again."""
        return self is not Effect.DESTRUCTIVE


@dataclass(frozen=True, slots=True)
class HttpCall:
    """An HTTP tool's request; by default a `POST` of the arguments as JSON.

    In `url`, `query` and `body`, `{name}` is the argument of that name. There and in `headers`,
    `${NAME}` is taken from the environment when the tool is called, and never stored.
    """

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    retries: int = 0
    """Only for effects that may run again."""
    max_result_bytes: int = 262_144
    method: str = "POST"
    """GET, POST, PUT, PATCH or DELETE; GET and DELETE have no body."""
    query: Sequence[str] | Mapping[str, Any] | None = None
    """Names of arguments, or parameters with their values. None: with GET and DELETE the arguments
    that the URL does not take, otherwise nothing."""
    body: Sequence[str] | Mapping[str, Any] | Literal[False] | None = None
    """Names of arguments, or an object with values; False: no body. None: the arguments that
    neither the URL nor the query takes."""
    send: tuple[str, ...] = ("user",)
    """What else the tool learns, in headers of its own: user, metadata, session."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """How long an approval waits for a person, and what is decided then."""

    seconds: float
    approve: bool = False


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool of an agent: exactly one of http, python, builtin and `other` says how it runs."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments, an object."""
    effect: Effect = Effect.DESTRUCTIVE
    approval: bool | str = False
    """A person decides before it runs: always, never, or where the function that is named by this
    `module:function` says so of the arguments."""
    timeout: float = 60.0
    http: HttpCall | None = None
    python: str | None = None
    """`module:function`."""
    builtin: str | None = None
    """calculator or datetime."""
    expiry: Expiry | None = None
    """None: an approval waits for ever."""
    other: dict[str, Any] = field(default_factory=dict)
    """How tools of the other kinds run: JSON by the key of the kind (see `agents.tools.kinds`)."""

    @property
    def kind(self) -> str | None:
        """The key of the kind; None if there is none. Of several, any."""
        if self.python is not None:
            return "python"
        if self.http is not None:
            return "http"
        if self.builtin is not None:
            return "builtin"
        return next(iter(self.other), None)

    @property
    def kinds(self) -> list[str]:
        """The keys of all kinds that are given; a tool that can run has one."""
        own = [key for key in ("http", "python", "builtin") if getattr(self, key) is not None]
        return [*own, *self.other]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one execution of the agent may spend."""

    max_steps: int = 20
    max_tokens: int | None = None
    max_seconds: float | None = 600.0


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What an agents file says of one agent."""

    name: str
    model: str
    """`openai-chat:NAME`, `local:NAME`, `scripted:FILE`, or any pydantic-ai model string."""
    instructions: str = ""
    description: str = ""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    """auto, none, required or a tool's name: for the first step of a turn; later steps are auto."""
    limits: Limits = field(default_factory=Limits)
    settings: dict[str, Any] = field(default_factory=dict)
    """For the model: temperature, max_tokens, top_p, stop, seed."""
    code: str | None = None
    """`module:function` of the function that is the agent's loop; None: the server's own loop."""

    def tool(self, name: str) -> ToolSpec | None:
        """The tool of that name."""
        return next((tool for tool in self.tools if tool.name == name), None)


def shown_model(name: str) -> str:
    """A model's name for those who use an agent: of a file on the server its last part alone."""
    prefix, _, place = name.partition(":")
    return f"{prefix}:{PurePath(place).name}" if PurePath(place).is_absolute() else name


@dataclass(frozen=True, slots=True)
class Agent:
    """One immutable version of an agent in a workspace. Times are milliseconds since the epoch."""

    id: str
    workspace_id: str
    version: int
    spec: AgentSpec
    created_at: int
    updated_at: int
    paused: bool = False
    retired_at: int | None = None
    """When the operator's files stopped to name it; it runs nothing new. None: in use."""
    source: str = "file"
    """The agents file that named it last, as the operator gave it; or MADE_OVER_HTTP."""


@dataclass(frozen=True, slots=True)
class AgentsFile:
    """An agents file as a starting server has read it."""

    workspace_id: str
    source: str
    """Its path or module, as the operator gave it."""
    digest: str
    """Of its agents' names and specs."""
    names: frozenset[str]
    at: int
    alone: bool = False
    """Whether no other server uses the database: the file decides about every agent."""
