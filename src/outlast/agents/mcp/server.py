"""An MCP server as an agent's spec stores it, and as it is called: with variables filled in."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

from outlast.agents.port import ToolContext
from outlast.agents.tools.placeholders import VARIABLE, Variables
from outlast.agents.tools.request import tool_request
from outlast.agents.tools.secrets import Secrets, secrets_of
from outlast.model.agent import HttpCall

KEY: Final = "mcp"
_UNSENT: Final = frozenset({"idempotency-key", "outlast-execution-id"})
"""Headers of an HTTP tool's call; an MCP call has these in its `_meta`."""
_NO_CALL: Final = ToolContext("", "", "")


@dataclass(frozen=True, slots=True)
class McpServer:
    """A server, and how its tools are used. Stored as JSON with the agent's version."""

    url: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """The operator's, with `${NAME}` from the environment."""
    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    """What the command's environment has besides `INHERITED`."""
    cwd: str | None = None
    tools: tuple[str, ...] | None = None
    """The server's tools that the agent has; None: all."""
    effect: str | None = None
    """Effect of tools that `effects` does not name; None: see `trust`."""
    effects: dict[str, str] = field(default_factory=dict)
    approval: dict[str, bool | str] = field(default_factory=dict)
    trust: bool = False
    """Whether the server's annotations decide about the effect of its tools."""
    max_result_bytes: int = 262_144
    proxy: str | None = None
    """As of an `HttpCall`."""
    ca_file: str | None = None

    @staticmethod
    def of(stored: Mapping[str, Any]) -> "McpServer":
        """Return the server that was stored."""
        given = {key: value for key, value in stored.items() if key != "lists"}
        tools = given.get("tools")
        given["args"] = tuple(given.get("args", ()))
        given["tools"] = None if tools is None else tuple(tools)
        return McpServer(**given)

    def stored(self) -> dict[str, Any]:
        """Return it as JSON of a source; what is the default is left out."""
        default = asdict(McpServer())
        written = asdict(self)
        changed = {key: value for key, value in written.items() if value != default[key]}
        return {
            "lists": True,
            **{k: list(one) if isinstance(one, tuple) else one for k, one in changed.items()},
        }

    @property
    def http(self) -> HttpCall:
        """The request of an HTTP server as checks of HTTP tools read it."""
        return HttpCall(
            self.url or "",
            self.headers,
            body=False,
            send=(),
            proxy=self.proxy,
            ca_file=self.ca_file,
        )

    def variables(self) -> set[str]:
        """Return the variables of the environment that it names."""
        texts = (self.url, self.proxy, *self.headers.values(), *self.args, *self.env.values())
        return {name for text in texts if text for name in VARIABLE.findall(text)}


@dataclass(frozen=True, slots=True)
class Target:
    """What a connection is made to: a server with its variables and headers filled in."""

    name: str
    """Name of the source in the agent, for errors and logs."""
    shown: str
    """Address or command for errors and logs, without secrets."""
    url: str | None
    headers: dict[str, str] = field(repr=False)
    command: tuple[str, ...] = field(repr=False)
    env: dict[str, str] = field(repr=False)
    cwd: str | None
    secrets: Secrets = field(repr=False)
    key: str = ""
    """Equal for targets that share a connection."""
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    @property
    def label(self) -> str:
        """Name and address, for errors."""
        return f"{self.name} ({self.shown})"


INHERITED: Final = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
)
"""Variables of the server's environment that a command has too."""


def target_of(
    name: str, server: McpServer, context: ToolContext | None, environ: Mapping[str, str]
) -> Target:
    """Return what to connect to. Raises ToolFailed if a variable is not set.

    Forwarded headers of the context are sent too, so calls with other ones have another connection.
    """
    made = _over_http if server.url is not None else _of_command
    return made(name, server, context or _NO_CALL, environ)


def _over_http(
    name: str, server: McpServer, context: ToolContext, environ: Mapping[str, str]
) -> Target:
    made = tool_request(server.http, {}, context, environ)
    headers = {key: value for key, value in made.headers.items() if key not in _UNSENT}
    route = made.proxy, server.ca_file
    key = _digest([made.url, sorted(headers.items()), route])
    return Target(name, made.shown, made.url, headers, (), {}, None, made.secrets, key, *route)


def _of_command(
    name: str, server: McpServer, _context: ToolContext, environ: Mapping[str, str]
) -> Target:
    variables = Variables(environ)
    command = (server.command or "", *(variables.fill(one) for one in server.args))
    own = {key: variables.fill(value) for key, value in server.env.items()}
    secrets = secrets_of(variables.secrets, {}, {})
    env = {key: environ[key] for key in INHERITED if key in environ} | own
    key = _digest([command, sorted(env.items()), server.cwd])
    return Target(name, server.command or "", None, {}, command, env, server.cwd, secrets, key)


def _digest(content: Any) -> str:
    return hashlib.sha256(orjson.dumps(content)).hexdigest()
