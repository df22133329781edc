"""`outlast schedules`: through the server; `list` and `show` read the database if none answers."""

import asyncio
from typing import Annotated, Any, Final

from typer import Argument, Option, Typer, echo

from outlast.cli.options import AgentName, AsJson, Metadata, pairs, require_one_of
from outlast.cli.output import note, shorten, write_json, write_table
from outlast.cli.through import Server, from_server_or_database, through_server
from outlast.settings import Settings

schedules = Typer(
    help="Schedules of agents: list, show, create, pause, fire, remove.", no_args_is_help=True
)

_OVERLAPS: Final = ("skip", "queue", "cancel", "allow")
_CATCH_UPS: Final = ("last", "none", "all")
_RUNS: Final = 10
"""Runs that `show` shows."""
ScheduleId = Annotated[str, Argument(help="The schedule's id: sch_…", metavar="ID")]
Overlap = Annotated[
    str | None, Option(help="skip, queue, cancel or allow, while an earlier run is live.")
]


@schedules.callback()
def about() -> None:
    """List, show, create, pause, resume, fire and remove schedules."""


@schedules.command("list")
@through_server("database_url")
def list_schedules(
    server: Server,
    *,
    agent: Annotated[str | None, Option(help="Only of this agent, by name or id.")] = None,
    limit: Annotated[int, Option(min=1, max=100, help="Maximum number of rows.")] = 20,
    after: Annotated[str | None, Option(help="Only what is older than this: sch_…")] = None,
    json: AsJson = False,
) -> None:
    """List schedules, newest first."""
    filters = {"agentId": agent, "limit": limit, "after": after}
    page = asyncio.run(
        from_server_or_database(
            server, lambda c: c.schedules(**filters), lambda chosen: _list(chosen, filters)
        )
    )
    if json:
        write_json(page)
        return
    columns = ["id", "status", "when", "timezone", "next run", "last run", "input"]
    write_table(columns, [_row(row) for row in page["data"]])
    if page["hasMore"]:
        note(f"There are more: --after {page['nextCursor']}")


@schedules.command()
@through_server("database_url")
def show(server: Server, schedule_id: ScheduleId, json: AsJson = False) -> None:
    """Show one schedule with its next and its last runs."""
    found = asyncio.run(
        from_server_or_database(
            server, lambda c: _shown(c, schedule_id), lambda chosen: _show(chosen, schedule_id)
        )
    )
    if json:
        write_json(found)
        return
    for name in ("id", "name", "agentId", "status", "pausedReason", "timezone", "source"):
        if found[name]:
            echo(f"{name:14}{found[name]}")
    echo(f"{'when':14}{_when(found)}")
    echo(f"{'input':14}{shorten(found['input'], 200)}")
    for name, value in found.items():
        if name in ("overlap", "catchUp", "conversationId", "startAt", "endAt") and value:
            echo(f"{name:14}{value}")
    for number, at in enumerate(found["nextRuns"]):
        echo(f"{'' if number else 'next runs':14}{at}")
    for number, run in enumerate(found["runs"]):
        echo(f"{'' if number else 'last runs':14}{_run(run)}")


@schedules.command()
@through_server()
def create(
    server: Server,
    agent: AgentName,
    *,
    cron: Annotated[
        str | None, Option(help='Five fields, as "0 9 * * MON-FRI"; or @daily.')
    ] = None,
    at: Annotated[
        list[str] | None, Option("--at", help="A time of every day, as 09:00; repeatable.")
    ] = None,
    timezone: Annotated[str | None, Option(help="Such as Europe/Berlin; default: UTC.")] = None,
    input: Annotated[str | None, Option(help="The message to the agent.")] = None,
    name: Annotated[str | None, Option(help="The schedule's name.")] = None,
    conversation: Annotated[str | None, Option(help="Its runs are turns of it: conv_…")] = None,
    overlap: Overlap = None,
    catch_up: Annotated[
        str | None, Option(help="last, none or all: times to make up for after an outage.")
    ] = None,
    metadata: Metadata = None,
    json: AsJson = False,
) -> None:
    """Create a schedule, by --cron or --at times of every day."""
    require_one_of("--overlap", overlap, _OVERLAPS)
    require_one_of("--catch-up", catch_up, _CATCH_UPS)
    given = {
        "cron": cron,
        "times": at,
        "timezone": timezone,
        "input": input,
        "name": name,
        "conversationId": conversation,
        "overlap": overlap,
        "catchUp": catch_up,
        "metadata": pairs(metadata) or None,
    }
    fields: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    made = server.request(lambda c: c.create_schedule(agent, **fields))
    if json:
        write_json(made)
    else:
        echo(made["id"])
        note(f"Next run: {made['nextRunAt'] or 'none, it is paused'}.")


@schedules.command()
@through_server()
def pause(server: Server, schedule_id: ScheduleId, json: AsJson = False) -> None:
    """Pause a schedule; what runs goes on."""
    _tell(server.request(lambda c: c.pause_schedule(schedule_id)), json=json)


@schedules.command()
@through_server()
def resume(server: Server, schedule_id: ScheduleId, json: AsJson = False) -> None:
    """Resume a schedule; times of the pause are not made up for."""
    _tell(server.request(lambda c: c.resume_schedule(schedule_id)), json=json)


@schedules.command()
@through_server()
def fire(
    server: Server, schedule_id: ScheduleId, *, overlap: Overlap = None, json: AsJson = False
) -> None:
    """Run a schedule now, paused or not; its next time stays."""
    require_one_of("--overlap", overlap, _OVERLAPS)
    run = server.request(lambda c: c.fire_schedule(schedule_id, overlap))
    if json:
        write_json(run)
    elif run["executionId"] is None:
        echo("It waits for the end of the run before it.")
    else:
        echo(run["executionId"])


@schedules.command()
@through_server()
def remove(server: Server, schedule_id: ScheduleId) -> None:
    """Delete a schedule and the records of its runs."""
    server.request(lambda c: c.delete_schedule(schedule_id))
    echo(f"{schedule_id} is deleted.")


async def _shown(client: Any, schedule_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await client.schedule(schedule_id)
    return found | {"runs": (await client.schedule_runs(schedule_id, limit=_RUNS))["data"]}


async def _list(chosen: Settings, filters: dict[str, Any]) -> dict[str, Any]:
    from outlast.cli.state import opened, workspace_of
    from outlast.model.ids import SCHEDULE, parse
    from outlast.rooms.executions.routes import schedule_objects
    from outlast.store.page import Page

    agent, after, limit = filters["agentId"], filters["after"], filters["limit"]
    async with opened(chosen, make=False) as state:
        workspace_id = await workspace_of(chosen, state)
        agent_id = None
        if agent is not None:
            agent_id = (await state.store.agents.get(workspace_id, agent)).id
        page = Page(limit, after=after and parse(SCHEDULE, after))
        found = await state.store.schedules.page(workspace_id, agent_id, page)
    more = len(found) > limit
    return dict(schedule_objects.page(found[:limit], more=more, backwards=False))


async def _show(chosen: Settings, schedule_id: str) -> dict[str, Any]:
    from outlast.cli.state import opened, workspace_of
    from outlast.model.ids import SCHEDULE, parse
    from outlast.rooms.executions.routes import schedule_objects
    from outlast.store.page import Page

    async with opened(chosen, make=False) as state:
        workspace_id = await workspace_of(chosen, state)
        store = state.store.schedules
        found = await store.get(workspace_id, parse(SCHEDULE, schedule_id))
        runs = await store.runs(found.id, Page(_RUNS))
    page = schedule_objects.runs(runs[:_RUNS], more=False, backwards=False)
    return {**schedule_objects.schedule(found), "runs": page["data"]}


def _when(row: dict[str, Any]) -> str:
    return str(row["cron"]) if row["cron"] is not None else " ".join(row["times"])


def _row(row: dict[str, Any]) -> list[object]:
    status = row["status"] if row["pausedReason"] is None else f"paused: {row['pausedReason']}"
    next_run, last_run = row["nextRunAt"] or "-", row["lastRunAt"] or "-"
    when = _when(row)
    return [row["id"], status, when, row["timezone"], next_run, last_run, shorten(row["input"])]


def _run(run: dict[str, Any]) -> str:
    what = run["executionId"] or f"{run['error']['code']}: {run['error']['message']}"
    late = ", late" if run["late"] else ""
    return f"{run['scheduledAt'] or run['startedAt']}  {what} ({run['trigger']}{late})"


def _tell(schedule: dict[str, Any], *, json: bool) -> None:
    if json:
        write_json(schedule)
    else:
        echo(f"{schedule['id']} is {schedule['status']}. Next run: {schedule['nextRunAt'] or '-'}")
