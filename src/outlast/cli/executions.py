"""`outlast executions`: through the server; `list` and `show` read the database if none answers."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from typer import Exit, Option, Typer, echo

from outlast.cli.options import AsJson, ExecutionId, Metadata, User, pairs, require_one_of
from outlast.cli.output import note, shorten, write_json, write_table
from outlast.cli.through import Server, from_server_or_database, through_server
from outlast.model.execution import Status
from outlast.settings import Settings

if TYPE_CHECKING:
    from outlast.model.execution import Execution
    from outlast.services.executions import ExecutionView
    from outlast.store.store import Store

executions = Typer(
    help="List, show, watch, pause, resume, cancel executions.", no_args_is_help=True
)

_RESTART_SECONDS = 60.0
"""How long `watch` waits for a server that leaves meanwhile."""
_REASON = 120
"""Maximum characters of a failure's reason in a list."""


@executions.command("list")
@through_server("database_url")
def list_executions(
    server: Server,
    *,
    agent: Annotated[str | None, Option(help="Only of this agent, by name or id.")] = None,
    status: Annotated[str | None, Option(help=f"{', '.join(Status)}.")] = None,
    limit: Annotated[int, Option(min=1, max=100, help="Maximum number of rows.")] = 20,
    user: User = None,
    metadata: Metadata = None,
    after: Annotated[
        str | None, Option(help="Only what is older than this execution: exec_…")
    ] = None,
    json: AsJson = False,
) -> None:
    """List executions, newest first."""
    require_one_of("--status", status, Status)
    filters = {"agentId": agent, "status": status, "user": user, "limit": limit, "after": after}
    filters |= {f"metadata.{key}": value for key, value in pairs(metadata).items()}
    page = asyncio.run(
        from_server_or_database(
            server, lambda c: c.list(**filters), lambda chosen: _list_database(chosen, filters)
        )
    )
    if json:
        write_json(page)
        return
    write_table(
        ["id", "status", "created", "agent", "output or error"],
        [
            (
                row["id"],
                row["status"],
                row["createdAt"],
                row["agentName"],
                _result(row),
            )
            for row in page["data"]
        ],
    )
    if page["hasMore"]:
        note(f"There are more: --after {page['data'][-1]['id']}")


@executions.command("show")
@through_server("database_url")
def show_execution(
    server: Server,
    execution_id: ExecutionId,
    json: AsJson = False,
) -> None:
    """Show one execution."""
    execution = asyncio.run(
        from_server_or_database(
            server,
            lambda c: c.get(execution_id),
            lambda chosen: _show_database(chosen, execution_id),
        )
    )
    if json:
        write_json(execution)
        return
    from outlast.cli.described import described

    for line in described(execution):
        echo(line)


@executions.command("watch")
@through_server()
def watch_execution(
    server: Server,
    execution_id: ExecutionId,
    json: AsJson = False,
) -> None:
    """Show an execution as it runs, until it ends or waits."""
    code = asyncio.run(_watch(server, execution_id, json))
    raise Exit(code)


@executions.command("cancel")
@through_server()
def cancel_execution(
    server: Server,
    execution_id: ExecutionId,
    json: AsJson = False,
) -> None:
    """Cancel a live execution; its output so far is kept."""
    cancelled = server.request(lambda c: c.cancel(execution_id))
    if json:
        write_json(cancelled)
    else:
        echo(f"{cancelled['id']} is {cancelled['status']}.")


async def _watch(server: Server, execution_id: str, json: bool) -> int:
    from outlast.cli.remote import show_stream
    from outlast.cli.screen import Screen

    screen = Screen(quiet=json)
    async with server.client(patience=_RESTART_SECONDS) as client:
        execution = await show_stream(client, execution_id, screen)
    if json:
        write_json(execution)
    error: Any = execution.get("error") or {}
    return screen.end(execution_id, execution["status"], error.get("message"))


async def _list_database(chosen: Settings, filters: dict[str, Any]) -> dict[str, Any]:
    from outlast.cli.state import opened, workspace_of
    from outlast.model.ids import EXECUTION, parse
    from outlast.rooms.executions import render
    from outlast.services.metadata import require_indexed
    from outlast.store.executions.lists import ExecutionFilter
    from outlast.store.page import Page

    status, after, limit = filters["status"], filters["after"], filters["limit"]
    async with opened(chosen, make=False) as state:
        workspace_id = await workspace_of(chosen, state)
        agent_id = None
        if filters["agentId"] is not None:
            agent_id = (await state.store.agents.get(workspace_id, filters["agentId"])).id
        indexed = tuple(
            (name.removeprefix("metadata."), str(value))
            for name, value in filters.items()
            if name.startswith("metadata.")
        )
        require_indexed(chosen.metadata_keys, indexed)
        wanted = ExecutionFilter(
            agent_id,
            () if status is None else (Status(status),),
            user=filters["user"],
            metadata=indexed,
        )
        page = Page(limit, after=after and parse(EXECUTION, after))
        found = await state.store.executions.page(workspace_id, wanted, page)
        views = [await _view(state.store, execution) for execution in found[:limit]]
    return dict(render.page(views, more=len(found) > limit, backwards=False))


async def _show_database(chosen: Settings, execution_id: str) -> dict[str, Any]:
    from outlast.cli.state import opened, workspace_of
    from outlast.model.ids import EXECUTION, parse
    from outlast.rooms.executions import render

    found = parse(EXECUTION, execution_id)
    async with opened(chosen, make=False) as state:
        workspace_id = await workspace_of(chosen, state)
        execution = await state.store.executions.get(workspace_id, found)
        return dict(render.execution(await _view(state.store, execution)))


async def _view(store: "Store", execution: "Execution") -> "ExecutionView":
    from outlast.services.views import Views
    from outlast.store.known_agents import KnownAgents

    return await Views(store.executions, KnownAgents(store.agents)).one(execution)


def _result(row: dict[str, Any]) -> str:
    """Return the output, or the reason of a failure."""
    error = row["error"]
    return (
        shorten(f"{error['code']}: {error['message']}", _REASON)
        if error
        else shorten(row["output"])
    )
