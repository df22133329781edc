"""An agent: its instructions, its model, its tools. A version never changes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Final, Literal

from outlast.model.memory import NamedStore

MADE_OVER_HTTP: Final = "api:"
"""Source of an agent created over the API; no file or module can have this name."""


SOURCE_SEPARATOR: Final = "__"
"""Between the name of a source and that of its tool."""
BROWSER: Final = "browser"
"""Key of the tools that drive a browser, which is metered."""


class Effect(StrEnum):
    """What running a tool a second time would do, in MCP's terms."""

    READ_ONLY = "read_only"
    IDEMPOTENT = "idempotent"
    """A second call with the same key has no further effect."""
    DESTRUCTIVE = "destructive"
    """Never run again without a person's decision."""

    @property
    def repeatable(self) -> bool:
        """Whether a call that was running in a crash may simply run again."""
        return self is not Effect.DESTRUCTIVE


ENVIRONMENT_PROXY: Final = "environment"
"""The proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say."""


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
    """Applied only to effects that may run again."""
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
    """Context sent to the tool in headers: user, metadata, session."""
    proxy: str | None = None
    """`http://…`, which may hold `${NAME}`, or ENVIRONMENT_PROXY; None: no proxy."""
    ca_file: str | None = None
    """PEM file of certificate authorities trusted besides the machine's."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """How long an approval waits for a person, and the decision after that."""

    seconds: float
    approve: bool = False


_FOLDERS: Final = re.compile(r"(?<![\w./~-])~?/(?:[^\s/:'\",;()]+/)*(?=[^\s/])")
"""Folders of a file's absolute path; not the path of a URL."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool of an agent; exactly one of http, python, builtin and `other` is set."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments, an object."""
    effect: Effect = Effect.DESTRUCTIVE
    approval: bool | str = False
    """Whether a person decides before it runs: always, never, or a `module:function` that is called
    with the arguments."""
    timeout: float = 60.0
    http: HttpCall | None = None
    python: str | None = None
    """`module:function`."""
    builtin: str | None = None
    """calculator or datetime."""
    expiry: Expiry | None = None
    """None: an approval never expires."""
    other: dict[str, Any] = field(default_factory=dict)
    """Specs of other kinds of tools: JSON by the kind's key (see `agents.tools.kinds`)."""

    @property
    def kind(self) -> str | None:
        """Key of the kind; None if there is none, any if there are several."""
        if self.python is not None:
            return "python"
        if self.http is not None:
            return "http"
        if self.builtin is not None:
            return "builtin"
        return next(iter(self.other), None)

    @property
    def is_browser(self) -> bool:
        """Whether it drives the execution's browser."""
        return BROWSER in self.other

    @property
    def kinds(self) -> list[str]:
        """Keys of all kinds given; a valid tool has exactly one."""
        own = [key for key in ("http", "python", "builtin") if getattr(self, key) is not None]
        return [*own, *self.other]

    @property
    def is_source(self) -> bool:
        """Whether it stands for the tools that a server lists when a segment begins."""
        return any(isinstance(of, dict) and of.get("lists") is True for of in self.other.values())


@dataclass(frozen=True, slots=True)
class Limits:
    """What one execution of the agent may spend."""

    max_steps: int = 20
    max_tokens: int | None = None
    max_seconds: float | None = 600.0


REASONING_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
FALLBACK_CODES: Final = (
    "model_unavailable",
    "rate_limit_exceeded",
    "context_length_exceeded",
    "model_rejected",
)
"""Codes of errors after which a chain's next model may answer."""
FALLBACK_DEFAULT: Final = FALLBACK_CODES[:3]
"""Without what the provider rejects: its content would only be rejected elsewhere."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One model of a chain."""

    name: str
    context_tokens: int | None = None
    """Tokens that fit its context; a request that is too long goes on to a larger model only."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """Definition of one agent in an agents file."""

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
    """For the model: temperature, max_tokens, max_completion_tokens, reasoning_effort, top_p, stop,
    seed, web_search (whether the provider searches the web by itself)."""
    code: str | None = None
    """`module:function` of the function that is the agent's loop; None: the server's own loop."""
    schedule: dict[str, Any] | None = None
    """When it runs by itself: JSON of a `model.schedule.Definition`. None: never."""
    chain: tuple[ModelChoice, ...] = ()
    """Models in the order in which they are tried, `model` first; empty: `model` alone."""
    fallback_on: tuple[str, ...] = ()
    """Codes of errors after which the next model is tried; empty: FALLBACK_DEFAULT."""
    images: bool | None = None
    """Whether its models are shown the images that tools bring; None: by the provider."""

    @property
    def models(self) -> tuple[ModelChoice, ...]:
        """All models that may answer, in the order in which they are tried."""
        return self.chain or (ModelChoice(self.model),)

    def with_model(self, name: str) -> "AgentSpec":
        """Return the spec for requests to this model; only the agent's own first has the chain."""
        return self if name == self.model else replace(self, model=name, chain=(), fallback_on=())

    memory_stores: tuple[NamedStore, ...] = ()
    """Memory stores of executions that name none themselves."""

    def tool(self, name: str) -> ToolSpec | None:
        """Return the tool of that name; None if there is none."""
        return next((tool for tool in self.offered if tool.name == name), None)

    @property
    def sources(self) -> tuple[ToolSpec, ...]:
        """The tools that stand for those of a server."""
        if not self.tools:
            return ()
        return tuple([tool for tool in self.tools if tool.other and tool.is_source])

    @property
    def offered(self) -> tuple[ToolSpec, ...]:
        """The tools that a model may call; of a source those that have been listed."""
        return self.tools if not self.sources else tuple(t for t in self.tools if not t.is_source)

    def source_of(self, name: str) -> ToolSpec | None:
        """Return the source to which a tool of that name belongs, listed or not."""
        source, separator, _ = name.partition(SOURCE_SEPARATOR)
        found = (one for one in self.sources if separator and one.name == source)
        return next(found, None)

    def has(self, name: str) -> bool:
        """Whether there is a tool of that name, or one of its sources may list it."""
        return self.tool(name) is not None or self.source_of(name) is not None


def shown_model(name: str) -> str:
    """Return a model's name for an agent's users; of a file's path only the last part."""
    prefix, _, place = name.partition(":")
    return f"{prefix}:{PurePath(place).name}" if PurePath(place).is_absolute() else name


def shown_message(text: str) -> str:
    """Return an operator's message for an agent's users: of a file's path only the last part."""
    return _FOLDERS.sub("", text)


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
    """When the operator's files no longer named it; it runs nothing new. None: in use."""
    source: str = "file"
    """The last agents file that named it, as given by the operator; or MADE_OVER_HTTP."""


@dataclass(frozen=True, slots=True)
class AgentsFile:
    """An agents file as read by a starting server."""

    workspace_id: str
    source: str
    """Its path or module, as given by the operator."""
    digest: str
    """Digest of its agents' names and specs."""
    names: frozenset[str]
    at: int
    alone: bool = False
    """Whether no other server uses the database: then the file decides about every agent."""
