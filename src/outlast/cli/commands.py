"""The commands and their options; implementations are imported when they run."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated, Final

from typer import Argument, Context, Exit, Option, Typer, echo

from outlast.cli.agents import agents
from outlast.cli.approvals import approvals, approve, deny
from outlast.cli.backup import backup, restore
from outlast.cli.budgets import budgets
from outlast.cli.console import console
from outlast.cli.consumption import usage
from outlast.cli.executions import executions
from outlast.cli.keys import keys
from outlast.cli.lifecycle import add_moves
from outlast.cli.memory import memory
from outlast.cli.models import models
from outlast.cli.options import FLAGS, AgentName, AsJson, Metadata, User, pairs, with_settings
from outlast.cli.output import write_json
from outlast.cli.prices import show_prices
from outlast.cli.retention import purge, vacuum
from outlast.cli.schedules import schedules
from outlast.cli.tools import tools
from outlast.cli.views import views
from outlast.cli.workspaces import workspaces
from outlast.settings import Settings


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import without garbage collection: modules stay, so collecting among them is wasted."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


app = Typer(
    name="outlast",
    help="Run AI agents durably behind an HTTP API.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_FIRST_COMMANDS: Final = """\
Outlast runs AI agents durably behind an HTTP API. The commands to begin with:

  outlast demo                     see it: an agent, a kill, an approval, in the browser
  outlast init                     write an agents.yaml of your own
  outlast run AGENT "a message"    run an agent in this terminal
  outlast serve                    serve the agents over HTTP, with a console
  outlast console                  open the console of a server that runs

All commands: outlast --help"""


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
    if context.invoked_subcommand is None:
        echo(_FIRST_COMMANDS)


@app.command()
@with_settings(*FLAGS)
def serve(
    chosen: Settings,
    *,
    worker: Annotated[
        bool, Option("--worker/--no-worker", help="Run executions in this process too.")
    ] = True,
    strict: Annotated[
        bool, Option("--strict", help="Refuse to start with agents or settings that cannot work.")
    ] = False,
    open_browser: Annotated[
        bool, Option("--open", help="Write a link that signs in to the console, and open it.")
    ] = False,
    reload: Annotated[
        bool, Option("--reload", help="Put changed files of the agents file's folder into use.")
    ] = False,
) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C."""
    with quick_imports():
        from outlast.cli.server import serve

    then = None
    if open_browser:
        from outlast.cli.browser_window import open_console

        then = open_console
    serve(chosen, echo, worker=worker, strict=strict, then=then, reload=reload)


@app.command()
@with_settings("data_dir", "port")
def demo(
    chosen: Settings,
    *,
    open_browser: Annotated[
        bool, Option("--open/--no-open", help="Open the console, unless over SSH.")
    ] = True,
) -> None:
    """Run a built-in agent, and open the console.

    It needs no key and no download. Its data is in the folder demo of the data folder. Stop it in
    the middle, by Ctrl-C or kill -9, and start it again: the run goes on where it was.
    """
    with quick_imports():
        from outlast.cli.demo.command import demo

    demo(chosen.data_dir, chosen.port, opens=open_browser)


_SERVING_ONLY: Final = frozenset(
    {
        "api_key",
        "console",
        "cors_origins",
        "root_path",
        "trusted_proxies",
        "idle_connection_seconds",
        "max_body_bytes",
        "max_connections",
        "port",
        "public_url",
        "request_body_seconds",
        "request_head_seconds",
        "stream_keep_alive_seconds",
        "strict_requests",
    }
)
"""Settings of the HTTP API, which a worker does not serve."""


@app.command()
@with_settings(*(name for name in FLAGS if name not in _SERVING_ONLY))
def worker(
    chosen: Settings,
    *,
    port: Annotated[
        int | None, Option(help="Serve /healthz, /readyz and /metrics on this port; 0: a free one.")
    ] = None,
) -> None:
    """Run executions of a Postgres database until SIGTERM or Ctrl-C.

    Start as many as needed. It needs the servers' agents file: Python tools run here.
    """
    with quick_imports():
        from outlast.cli.server import work

    listening = chosen if port is None else replace(chosen, port=port)
    work(listening, echo, listen=port is not None)


@app.command()
@with_settings("agents", "data_dir", "database_url", "host", "port", "api_key", "log_level")
def run(
    chosen: Settings,
    agent: AgentName,
    input: Annotated[str, Argument(help="The message to the agent.")],
    *,
    conversation: Annotated[str | None, Option(help="Continue this conversation: conv_…")] = None,
    user: User = None,
    metadata: Metadata = None,
    json: AsJson = False,
) -> None:
    """Run an agent and show what it does; needs no server. Ctrl-C cancels.

    Exit code: 0 completed, 1 failed, 3 waiting for an approval, 130 cancelled.
    """
    with quick_imports():
        from outlast.cli.run import RunRequest, run

    request = RunRequest(agent, input, conversation, json, user, pairs(metadata))
    raise Exit(run(chosen, request))


@app.command()
def init(
    folder: Annotated[Path, Argument(help="Where to write; created if missing.")] = Path(),
) -> None:
    """Write an initial agents.yaml and outlast.toml. Overwrites nothing."""
    from outlast.cli.starter import write_project

    for file in write_project(folder):
        echo(f"wrote {file}")
    where = "" if folder == Path() else f"cd {quote(str(folder))} && "
    echo("Next, in the terminal or over HTTP:")
    echo(f'  {where}outlast run assistant "What is 6 * 7?"')
    echo(f"  {where}outlast serve --open --reload")


@app.command()
@with_settings("data_dir", "database_url", "database_direct_url")
def migrate(chosen: Settings) -> None:
    """Migrate the database to this version's schema.

    A server's start does the same. On SQLite no server may be running; on Postgres
    those of the previous version may, unless the changelog says to stop them.
    """
    from outlast.cli.state import migrate

    asyncio.run(migrate(chosen))
    echo(f"Up to date: {chosen.database}.")


@app.command()
@with_settings("agents", "data_dir", "database_url", "database_direct_url", "host", "port")
def doctor(chosen: Settings, *, json: AsJson = False) -> None:
    """Check what a server needs, and say how to fix problems.

    Exit code 1 if a check fails. Run it with the environment of the servers. On Postgres it checks
    the workers too.
    """
    from dataclasses import asdict

    from outlast.cli.doctor import examine
    from outlast.services.findings import Finding, Level

    async def examined() -> list[Finding]:
        return [finding async for finding in examine(chosen)]

    findings = asyncio.run(examined())
    if json:
        write_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            echo(f"{finding.level.value:5} {finding.check}: {finding.text}")
            if finding.remedy is not None:
                echo(f"      → {finding.remedy}")
    raise Exit(any(finding.level is Level.FAIL for finding in findings))


app.command()(console)
add_moves(executions)
app.add_typer(executions, name="executions")
app.command()(approvals)
app.command()(usage)
app.add_typer(budgets, name="budgets")
app.add_typer(views, name="views")
app.command()(backup)
app.command()(restore)
app.command()(purge)
app.command()(vacuum)
app.command("prices")(show_prices)
app.command()(approve)
app.command()(deny)
app.add_typer(agents, name="agents")
app.add_typer(schedules, name="schedules")
app.add_typer(keys, name="keys")
app.add_typer(memory, name="memory")
app.add_typer(workspaces, name="workspaces")
app.add_typer(models, name="models")
app.add_typer(tools, name="tools")
