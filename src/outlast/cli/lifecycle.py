"""`outlast executions pause | resume | checkpoints | delete | answer`: through the server."""

from typing import Annotated, Any

from typer import Option, Typer, echo

from outlast.cli.client_calls import answer_call
from outlast.cli.options import AsJson, ExecutionId
from outlast.cli.output import write_json, write_table
from outlast.cli.through import Server, through_server


def add_moves(executions: Typer) -> None:
    """Add these commands to `outlast executions`."""
    for name, command in (
        ("pause", pause),
        ("resume", resume),
        ("checkpoints", checkpoints),
        ("delete", delete),
        ("answer", answer_call),
    ):
        executions.command(name)(command)


@through_server()
def pause(
    server: Server,
    execution_id: ExecutionId,
    *,
    now: Annotated[bool, Option("--now", help="Abort the running model request.")] = False,
    reason: Annotated[str | None, Option(help="Kept in the log.")] = None,
    json: AsJson = False,
) -> None:
    """Pause a live execution, at its next step."""
    answer = server.request(lambda c: c.pause(execution_id, now=now, reason=reason))
    _tell(answer, json=json)


@through_server()
def resume(
    server: Server,
    execution_id: ExecutionId,
    *,
    checkpoint: Annotated[str | None, Option(help="Roll back to this one: cp_…")] = None,
    json: AsJson = False,
) -> None:
    """Continue from the newest checkpoint. With --checkpoint, roll back to that one."""
    _tell(server.request(lambda c: c.resume(execution_id, checkpoint)), json=json)


@through_server()
def checkpoints(
    server: Server,
    execution_id: ExecutionId,
    *,
    json: AsJson = False,
) -> None:
    """List an execution's checkpoints, oldest first."""
    found = server.request(lambda c: c.checkpoints(execution_id))
    if json:
        write_json(found)
        return
    write_table(
        ["id", "step", "made", "", "memory written behind it"],
        [
            (
                c["id"],
                str(c["step"]),
                c["createdAt"],
                "superseded" if c["superseded"] else "",
                ", ".join(one["key"] for one in c.get("memoryWrites", [])),
            )
            for c in found["data"]
        ],
    )


@through_server()
def delete(
    server: Server,
    execution_id: ExecutionId,
) -> None:
    """Delete an execution for good. One that runs is terminated first."""
    server.request(lambda c: c.delete(execution_id))
    echo(f"{execution_id} is deleted.")


def _tell(execution: dict[str, Any], *, json: bool) -> None:
    if json:
        write_json(execution)
    else:
        echo(f"{execution['id']} is {execution['status']}.")
