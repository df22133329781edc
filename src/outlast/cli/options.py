"""Options shared by commands, and the settings made from them."""

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from typer import Argument, Option

from outlast.cli.completion import agent_names, execution_ids
from outlast.model.error import InvalidRequest
from outlast.settings import Settings, load

T = TypeVar("T")

DataDir = Annotated[
    Path | None,
    Option(
        help="The folder of the database, the first key and the local models.",
        show_default="~/.outlast",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    Option(help="sqlite:///PATH or postgresql://…; default: a file in the data folder."),
]
DirectUrl = Annotated[
    str | None, Option(help="URL of the same Postgres that bypasses a pooler and keeps sessions.")
]
Connections = Annotated[int | None, Option(help="Maximum connections to Postgres.")]
Concurrency = Annotated[
    int | None, Option(help="Segments that run at the same time.", show_default=False)
]
ModelRetries = Annotated[int | None, Option(help="How often a failed model request is retried.")]
MaxTries = Annotated[
    int | None, Option(help="How often an execution is begun without a recorded step.")
]
MaxQueuedTurns = Annotated[int | None, Option(help="Turns that may wait in one conversation.")]
ParallelCalls = Annotated[
    int | None, Option(help="Tool calls of one execution that run at the same time.")
]
DrainSeconds = Annotated[float | None, Option(help="How long SIGTERM waits for running steps.")]
MaxBody = Annotated[int | None, Option(help="The largest request body.")]
MaxConnections = Annotated[
    int | None, Option(help="Maximum client connections; default: by the limit of open files.")
]
HeadSeconds = Annotated[
    float | None, Option(help="How long a client may take to send a request's line and headers.")
]
BodySeconds = Annotated[
    float | None, Option(help="How long a client may send no body, or read nothing of an answer.")
]
IdleSeconds = Annotated[
    float | None, Option(help="How long a connection without a request is kept.")
]
KeepAliveSeconds = Annotated[
    float | None, Option(help="Seconds between the comments of a silent stream.")
]
Takeover = Annotated[
    float | None,
    Option(help="Postgres: seconds of silence after which others take over a worker's work."),
]
Host = Annotated[str | None, Option(help="The server's address.")]
Url = Annotated[
    str | None, Option(help="The server's URL; default: http://HOST:PORT of the settings.")
]
ExecutionId = Annotated[
    str,
    Argument(help="The execution's id: exec_…", metavar="ID", autocompletion=execution_ids),
]
AgentName = Annotated[str, Argument(help="The agent's name or id.", autocompletion=agent_names)]
Port = Annotated[int | None, Option(help="The server's port; with serve, 0 is any free one.")]
AgentsFile = Annotated[
    str | None, Option("--agents", help="The agents file: YAML, JSON, a Python file or a module.")
]
ApiKey = Annotated[
    str | None,
    Option(help="The API key; better given as OUTLAST_API_KEY, which other users do not see."),
]
SecretKey = Annotated[
    str | None,
    Option(help="Encrypts forwarded headers and tickets; better given as OUTLAST_SECRET_KEY."),
]
LogLevel = Annotated[str | None, Option(help="debug, info, warning or error.")]
LogFormat = Annotated[str | None, Option(help="json, text or auto.")]
StrictRequests = Annotated[
    bool | None,
    Option(
        "--strict-requests/--no-strict-requests",
        help="Refuse unknown fields and filters of requests.",
        show_default=False,
    ),
]
PrivateNetworks = Annotated[
    str | None,
    Option(
        "--private-network",
        help="Who may name private addresses for tools to call: operator, allow or deny.",
    ),
]
BrowserPath = Annotated[
    str | None, Option(help="Chrome or Chromium, for agents that have a browser.")
]
VectorCache = Annotated[
    int | None, Option(help="Memory for memory stores' vectors between searches, in bytes.")
]
BrowserContexts = Annotated[
    int | None, Option(help="Executions with an open browser at the same time; others wait.")
]
BrowserIdle = Annotated[
    float | None, Option(help="Seconds that the browser's process is kept without use.")
]
BrowserSandbox = Annotated[
    bool | None,
    Option(
        "--browser-sandbox/--no-browser-sandbox",
        help="Use the browser's own sandbox; never as root.",
        show_default=False,
    ),
]
CorsOrigins = Annotated[
    str | None, Option(help="Origins of pages that may call from a browser, with commas; * is any.")
]
Console = Annotated[
    bool | None,
    Option("--console/--no-console", help="Serve the console, at /console.", show_default=False),
]
PublicUrl = Annotated[
    str | None, Option(help="URL at which browsers reach the server, such as https://ai.example.")
]
RootPath = Annotated[
    str | None, Option(help="Path prefix that clients see, such as /ai behind a proxy.")
]
TrustedProxies = Annotated[
    str | None,
    Option(help="Proxies whose X-Forwarded-Prefix counts, with commas; * is any."),
]
IndexedMetadata = Annotated[
    str | None, Option(help="Keys of metadata by which lists filter, with commas between.")
]
AsJson = Annotated[bool, Option("--json", help="Write JSON, for scripts.")]
User = Annotated[str | None, Option(help="The end user, by your own name or id.")]
Metadata = Annotated[
    list[str] | None, Option("--metadata", metavar="KEY=VALUE", help="Repeatable.")
]
Workspace = Annotated[str, Option(help="The workspace's name.")]


FLAGS: Final[dict[str, Any]] = {
    "agents": AgentsFile,
    "host": Host,
    "port": Port,
    "data_dir": DataDir,
    "database_url": DatabaseUrl,
    "database_direct_url": DirectUrl,
    "database_connections": Connections,
    "api_key": ApiKey,
    "secret_key": SecretKey,
    "concurrency": Concurrency,
    "model_retries": ModelRetries,
    "max_tries": MaxTries,
    "max_queued_turns": MaxQueuedTurns,
    "parallel_calls": ParallelCalls,
    "drain_seconds": DrainSeconds,
    "max_body_bytes": MaxBody,
    "max_connections": MaxConnections,
    "request_head_seconds": HeadSeconds,
    "request_body_seconds": BodySeconds,
    "idle_connection_seconds": IdleSeconds,
    "stream_keep_alive_seconds": KeepAliveSeconds,
    "strict_requests": StrictRequests,
    "indexed_metadata": IndexedMetadata,
    "private_network": PrivateNetworks,
    "vector_cache_bytes": VectorCache,
    "browser_path": BrowserPath,
    "browser_contexts": BrowserContexts,
    "browser_idle_seconds": BrowserIdle,
    "browser_sandbox": BrowserSandbox,
    "cors_origins": CorsOrigins,
    "console": Console,
    "public_url": PublicUrl,
    "root_path": RootPath,
    "trusted_proxies": TrustedProxies,
    "takeover_seconds": Takeover,
    "log_level": LogLevel,
    "log_format": LogFormat,
}
"""Flags of the settings, in the order of the help text."""


def with_settings(*names: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command flags for these settings; its first argument is the resulting Settings.

    The command's own arguments come before the flags, its options after them.
    """

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        @wraps(command)
        def run(**given: Any) -> T:
            return command(settings(**{name: given.pop(name) for name in names}), **given)

        _, *own = signature(command).parameters.values()
        flags = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=FLAGS[name])
            for name in names
        ]
        arguments = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in own if _is_argument(one)]
        options = [one for one in own if not _is_argument(one)]
        parameters = [*arguments, *flags, *options]
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _is_argument(parameter: Parameter) -> bool:
    return parameter.default is Parameter.empty


def require_one_of(option: str, value: str | None, known: Iterable[str]) -> None:
    """Check the value of an option, if it is given. Raises InvalidRequest."""
    names = list(known)
    if value is not None and value not in names:
        raise InvalidRequest(f'{option} must be {", ".join(names)}, not "{value}".')


def pairs(given: list[str] | None) -> dict[str, str]:
    """Return the keys and values of `--metadata`. Raises InvalidRequest."""
    found = [text.partition("=") for text in given or []]
    for key, is_pair, _ in found:
        if not (key and is_pair):
            raise InvalidRequest(f"--metadata: {key!r} is not KEY=VALUE.")
    return {key: value for key, _, value in found}


def settings(**flags: Any) -> Settings:
    """Return the settings: flags, environment, `outlast.toml`. Raises Misconfigured."""
    return load(flags)
