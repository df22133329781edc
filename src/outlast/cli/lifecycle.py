"""`outlast executions pause | resume | checkpoints | delete`: through the server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option, Typer, echo

from outlast.cli.options import ApiKey, AsJson, DataDir, ExecutionId, Host, Port, Url, settings
from outlast.cli.output import write_json, write_table
from outlast.settings import Settings

if TYPE_CHECKING:
    from outlast.client import Client


def add_moves(executions: Typer) -> None:
    """Add these commands to `outlast executions`."""
    for name, command in (
        ("pause", pause),
        ("resume", resume),
        ("checkpoints", checkpoints),
        ("delete", delete),
    ):
        executions.command(name)(command)


def pause(
    execution_id: ExecutionId,
    *,
    now: Annotated[bool, Option("--now", help="Abort the running model request.")] = False,
    reason: Annotated[str | None, Option(help="Kept in the log.")] = None,
    url: Url = None,
    host: Host = None,
    port: Port = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Pause a live execution, at its next step."""
    chosen = settings(host=host, port=port, api_key=api_key, data_dir=data_dir)
    answer = through(chosen, url, lambda c: c.pause(execution_id, now=now, reason=reason))
    _tell(answer, json=json)


def resume(
    execution_id: ExecutionId,
    *,
    checkpoint: Annotated[str | None, Option(help="Roll back to this one: cp_…")] = None,
    url: Url = None,
    host: Host = None,
    port: Port = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Continue from the newest checkpoint. With --checkpoint, roll back to that one."""
    chosen = settings(host=host, port=port, api_key=api_key, data_dir=data_dir)
    _tell(through(chosen, url, lambda c: c.resume(execution_id, checkpoint)), json=json)


def checkpoints(
    execution_id: ExecutionId,
    *,
    url: Url = None,
    host: Host = None,
    port: Port = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List an execution's checkpoints, oldest first."""
    chosen = settings(host=host, port=port, api_key=api_key, data_dir=data_dir)
    found = through(chosen, url, lambda c: c.checkpoints(execution_id))
    if json:
        write_json(found)
        return
    write_table(
        ["id", "step", "made", ""],
        [
            (c["id"], str(c["step"]), c["createdAt"], "superseded" if c["superseded"] else "")
            for c in found["data"]
        ],
    )


def delete(
    execution_id: ExecutionId,
    *,
    url: Url = None,
    host: Host = None,
    port: Port = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Delete an execution for good. One that runs is terminated first."""
    chosen = settings(host=host, port=port, api_key=api_key, data_dir=data_dir)
    through(chosen, url, lambda c: c.delete(execution_id))
    echo(f"{execution_id} is deleted.")


def through(chosen: Settings, url: str | None, ask: "Callable[[Client], Awaitable[Any]]") -> Any:
    """Run a request to the server of these settings."""

    async def answer() -> Any:
        from outlast.cli.remote import client_of

        async with client_of(chosen, url) as client:
            return await ask(client)

    return asyncio.run(answer())


def _tell(execution: dict[str, Any], *, json: bool) -> None:
    if json:
        write_json(execution)
    else:
        echo(f"{execution['id']} is {execution['status']}.")
