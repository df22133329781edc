"""The options that commands share, and the settings that they make."""

from pathlib import Path
from typing import Annotated, Any

from typer import Option

from outlast.settings import Settings, load

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
    str | None, Option(help="The same Postgres by a way that keeps its session, past a pooler.")
]
Connections = Annotated[int | None, Option(help="Connections to Postgres, at most.")]
Concurrency = Annotated[
    int | None, Option(help="Segments that run at the same time.", show_default=False)
]
ModelRetries = Annotated[int | None, Option(help="How often a failed model request is made again.")]
DrainSeconds = Annotated[float | None, Option(help="How long SIGTERM waits for running steps.")]
MaxBody = Annotated[int | None, Option(help="The largest request body.")]
MaxConnections = Annotated[
    int | None, Option(help="Connections of clients; default: by the limit of open files.")
]
HeadSeconds = Annotated[
    float | None, Option(help="How long a client may take to send a request's line and headers.")
]
BodySeconds = Annotated[
    float | None, Option(help="How long it may send no body, or take nothing of an answer.")
]
IdleSeconds = Annotated[
    float | None, Option(help="How long a connection without a request is kept.")
]
KeepAliveSeconds = Annotated[
    float | None, Option(help="How often a silent stream says that it lives.")
]
Takeover = Annotated[
    float | None,
    Option(help="Postgres: seconds of silence after which a worker's work is others'."),
]
Host = Annotated[str | None, Option(help="The server's address.")]
Port = Annotated[int | None, Option(help="The server's port; serve: 0 takes a free one.")]
AgentsFile = Annotated[
    str | None, Option("--agents", help="The agents file: YAML, JSON, a Python file or a module.")
]
ApiKey = Annotated[
    str | None,
    Option(help="The API key; better given as OUTLAST_API_KEY, which other users do not see."),
]
SecretKey = Annotated[
    str | None,
    Option(help="What seals kept headers and tickets; better given as OUTLAST_SECRET_KEY."),
]
LogLevel = Annotated[str | None, Option(help="debug, info, warning or error.")]
LogFormat = Annotated[str | None, Option(help="json, text or auto.")]
AsJson = Annotated[bool, Option("--json", help="Write JSON, for scripts.")]
Workspace = Annotated[str, Option(help="The workspace's name.")]


def settings(**flags: Any) -> Settings:
    """The settings: flags, environment, `outlast.toml`. Raises Misconfigured."""
    return load(flags)
