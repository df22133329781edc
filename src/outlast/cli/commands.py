"""The commands and their options; what they do is imported when they run."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from typer import Argument, Context, Exit, Option, Typer, echo

from outlast.cli.agents import agents
from outlast.cli.approvals import approvals, approve, deny
from outlast.cli.executions import executions
from outlast.cli.keys import keys, workspaces
from outlast.cli.models import models
from outlast.cli.moves import add_moves
from outlast.cli.options import (
    AgentsFile,
    ApiKey,
    AsJson,
    BodySeconds,
    Concurrency,
    Connections,
    DatabaseUrl,
    DataDir,
    DirectUrl,
    DrainSeconds,
    HeadSeconds,
    Host,
    IdleSeconds,
    KeepAliveSeconds,
    LogFormat,
    LogLevel,
    MaxBody,
    MaxConnections,
    ModelRetries,
    Port,
    SecretKey,
    Takeover,
    settings,
)
from outlast.cli.output import write_json


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import without garbage collection: modules stay, looking for garbage among them is vain."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


app = Typer(
    name="outlast",
    help="Run AI agents durably behind an HTTP API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    context: Context,
    version: Annotated[bool, Option("--version", help="Write the version and exit.")] = False,
) -> None:
    """Run AI agents durably behind an HTTP API."""
    if version:
        import outlast

        echo(f"outlast {outlast.__version__}")
        raise Exit
    del context


@app.command()
def serve(
    *,
    agents: AgentsFile = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    database_direct_url: DirectUrl = None,
    database_connections: Connections = None,
    api_key: ApiKey = None,
    secret_key: SecretKey = None,
    concurrency: Concurrency = None,
    model_retries: ModelRetries = None,
    drain_seconds: DrainSeconds = None,
    max_body_bytes: MaxBody = None,
    max_connections: MaxConnections = None,
    request_head_seconds: HeadSeconds = None,
    request_body_seconds: BodySeconds = None,
    idle_connection_seconds: IdleSeconds = None,
    stream_keep_alive_seconds: KeepAliveSeconds = None,
    cors_origins: Annotated[
        str | None,
        Option(help="Origins of pages that may call from a browser, with commas; * is any."),
    ] = None,
    worker: Annotated[
        bool, Option("--worker/--no-worker", help="Run executions in this process too.")
    ] = True,
    strict: Annotated[
        bool, Option("--strict", help="Refuse to start with agents or settings that cannot work.")
    ] = False,
    takeover_seconds: Takeover = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C."""
    chosen = settings(
        agents=agents,
        host=host,
        port=port,
        data_dir=data_dir,
        database_url=database_url,
        database_direct_url=database_direct_url,
        database_connections=database_connections,
        api_key=api_key,
        secret_key=secret_key,
        concurrency=concurrency,
        model_retries=model_retries,
        drain_seconds=drain_seconds,
        max_body_bytes=max_body_bytes,
        max_connections=max_connections,
        request_head_seconds=request_head_seconds,
        request_body_seconds=request_body_seconds,
        idle_connection_seconds=idle_connection_seconds,
        stream_keep_alive_seconds=stream_keep_alive_seconds,
        cors_origins=cors_origins,
        takeover_seconds=takeover_seconds,
        log_level=log_level,
        log_format=log_format,
    )
    with quick_imports():
        from outlast.cli.serving import serve

    serve(chosen, echo, worker=worker, strict=strict)


@app.command()
def worker(
    *,
    agents: AgentsFile = None,
    port: Annotated[
        int | None, Option(help="Answer /healthz, /readyz and /metrics there; 0 takes a free one.")
    ] = None,
    host: Host = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    database_direct_url: DirectUrl = None,
    database_connections: Connections = None,
    secret_key: SecretKey = None,
    concurrency: Concurrency = None,
    model_retries: ModelRetries = None,
    drain_seconds: DrainSeconds = None,
    takeover_seconds: Takeover = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run executions of a Postgres database until SIGTERM or Ctrl-C; any number may do so.

    Give it the agents file of the servers: Python tools run here.
    """
    chosen = settings(
        agents=agents,
        host=host,
        port=port,
        data_dir=data_dir,
        database_url=database_url,
        database_direct_url=database_direct_url,
        database_connections=database_connections,
        secret_key=secret_key,
        concurrency=concurrency,
        model_retries=model_retries,
        drain_seconds=drain_seconds,
        takeover_seconds=takeover_seconds,
        log_level=log_level,
        log_format=log_format,
    )
    with quick_imports():
        from outlast.cli.serving import work

    work(chosen, echo, listen=port is not None)


@app.command()
def run(
    agent: Annotated[str, Argument(help="Its name or id.")],
    input: Annotated[str, Argument(help="What you say to it.")],
    *,
    agents: AgentsFile = None,
    conversation: Annotated[str | None, Option(help="Go on with this conversation: conv_…")] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    host: Host = None,
    port: Port = None,
    api_key: ApiKey = None,
    log_level: LogLevel = None,
    json: AsJson = False,
) -> None:
    """Run an agent here and show what it does; needs no server. Ctrl-C cancels.

    Exit code: 0 completed, 1 failed, 3 waits for an approval, 130 cancelled.
    """
    chosen = settings(
        agents=agents,
        data_dir=data_dir,
        database_url=database_url,
        host=host,
        port=port,
        api_key=api_key,
        log_level=log_level,
    )
    with quick_imports():
        from outlast.cli.running import Wish, run

    raise Exit(run(chosen, Wish(agent, input, conversation, json)))


@app.command()
def migrate(
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    database_direct_url: DirectUrl = None,
) -> None:
    """Bring the database to this version's schema; a start does the same.

    On SQLite no server may run meanwhile; on Postgres those of the version before may.
    """
    from outlast.cli.opening import migrate

    chosen = settings(
        data_dir=data_dir, database_url=database_url, database_direct_url=database_direct_url
    )
    asyncio.run(migrate(chosen))
    echo(f"Up to date: {chosen.database}.")


@app.command()
def doctor(
    *,
    agents: AgentsFile = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    database_direct_url: DirectUrl = None,
    host: Host = None,
    port: Port = None,
    json: AsJson = False,
) -> None:
    """Check what a server needs, and say what mends it; exit code 1 where something fails.

    Give it the environment of the servers. On Postgres it looks at the workers too.
    """
    from dataclasses import asdict

    from outlast.cli.doctor import examine
    from outlast.cli.finding import Finding, Level

    chosen = settings(
        agents=agents,
        data_dir=data_dir,
        database_url=database_url,
        database_direct_url=database_direct_url,
        host=host,
        port=port,
    )

    async def examined() -> list[Finding]:
        return [finding async for finding in examine(chosen)]

    findings = asyncio.run(examined())
    if json:
        write_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            echo(f"{finding.level.value:5} {finding.check}: {finding.text}")
            if finding.mend is not None:
                echo(f"      → {finding.mend}")
    raise Exit(any(finding.level is Level.FAIL for finding in findings))


add_moves(executions)
app.add_typer(executions, name="executions")
app.command()(approvals)
app.command()(approve)
app.command()(deny)
app.add_typer(agents, name="agents")
app.add_typer(keys, name="keys")
app.add_typer(workspaces, name="workspaces")
app.add_typer(models, name="models")
